-- Commits one transaction: guards, fence, writes, in this order, so that whatever can fail fails before anything is
-- written (Redis does not roll a script back). The layout of KEYS and ARGV is made by `compile_transaction` in commit.py:
-- what one command takes stands side by side, so that it goes from ARGV to the command without a table in between.
--
-- Answers {"ok", entry ids of what was appended …} | {"guards", value or false for each guarded place …}
--       | {"duplicate"} | {"full", key} | {"conflict", key, field, value}

local KEYS, ARGV = KEYS, ARGV -- a global is looked up anew each time
local call, find, tonumber, unpack = redis.call, string.find, tonumber, unpack
local LARGEST = 9007199254740991 -- 2^53 - 1: beyond it Lua's numbers lose integers
local CHUNK = 1000               -- arguments that `unpack` can surely put on Lua's stack

local function holds(operator, operand, value)
  if operator == 'at_least' then return value and tonumber(value) >= tonumber(operand) end
  if operator == 'absent' then return not value end
  if operator == 'present' then return value and true end
  return value == operand -- equals
end

local function integer(value)
  local number = find(value, '^-?%d+$') and tonumber(value)
  return number and number >= -LARGEST and number <= LARGEST and number
end

local function read_fields(key, first, last)
  if last - first < CHUNK then return call('HMGET', key, unpack(ARGV, first, last)) end
  local values = {}
  for from = first, last, CHUNK do
    local part = call('HMGET', key, unpack(ARGV, from, math.min(from + CHUNK - 1, last)))
    for i = 1, #part do values[#values + 1] = part[i] end
  end
  return values
end

local function write_fields(key, from, first, last)
  for start = first, last, CHUNK do
    call('HSET', key, unpack(from, start, math.min(start + CHUNK - 1, last)))
  end
end

-- 1. Guards, and the types of everything that is going to be written.
local found, failed, hashes = {'guards'}, false, {}
local fence_group, fence_entry, at = ARGV[1], ARGV[2], 3 -- `at`: the argument that is next

for _ = 1, tonumber(ARGV[at]) do -- hashes: what is read of each, and what is going to be written to it
  local key, reads = KEYS[tonumber(ARGV[at + 1])], tonumber(ARGV[at + 2])
  local names, rules = at + 3, at + 3 + reads -- names; then operator, operand and amount to add, for each of them
  at = rules + 3 * reads
  local updates, n
  if reads == 0 then
    call('HLEN', key) -- raises WRONGTYPE now rather than half-way
  else
    local values = read_fields(key, names, rules - 1)
    for i = 1, reads do
      local operator, amount, value = ARGV[rules], ARGV[rules + 2], values[i]
      local number = value
      if value and (amount ~= '' or operator == 'at_least') then
        number = integer(value)
        if not number then return {'conflict', key, ARGV[names], value} end
      end
      if operator ~= '' then
        found[#found + 1] = value
        if not holds(operator, ARGV[rules + 1], value) then failed = true end
      end
      if amount ~= '' then
        amount = tonumber(amount)
        local sum = (number or 0) + amount
        if not (sum >= -LARGEST and sum <= LARGEST and amount >= -LARGEST and amount <= LARGEST) then
          return {'conflict', key, ARGV[names], value or ''}
        end
        updates, n = updates or {}, (n or 0) + 2
        updates[n - 1], updates[n] = ARGV[names], sum
      end
      names, rules = names + 1, rules + 3
    end
  end
  local values = tonumber(ARGV[at])
  if updates then
    for i = 1, values do updates[n + i] = ARGV[at + i] end
    hashes[#hashes + 1] = {key, updates, 1, n + values}
  elseif values > 0 then
    hashes[#hashes + 1] = {key, ARGV, at + 1, at + values}
  end
  at = at + values
end
at = at + 1

for _ = 1, tonumber(ARGV[at]) do -- strings
  local operator, value = ARGV[at + 2], call('GET', KEYS[tonumber(ARGV[at + 1])])
  if operator ~= '' then
    found[#found + 1] = value
    if not holds(operator, ARGV[at + 3], value) then failed = true end
  end
  at = at + 3
end
at = at + 1

for _ = 1, tonumber(ARGV[at]) do -- sorted sets
  at = at + 1
  call('ZCARD', KEYS[tonumber(ARGV[at])])
end
at = at + 1

local full = false
for _ = 1, tonumber(ARGV[at]) do -- streams, with their hard caps
  local key, cap = KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2]
  local length = call('XLEN', key)
  if cap ~= '' and length >= tonumber(cap) then full = key end
  at = at + 2
end
at = at + 1

-- What was committed before is a duplicate, whatever its guards find now: a lost reply is no reason to decide again.
if (failed or full) and fence_group ~= '' then
  local held = redis.pcall('XPENDING', KEYS[1], fence_group, fence_entry, fence_entry, 1)
  if #held == 0 then return {'duplicate'} end
end
if failed then return found end
if full then return {'full', full} end

-- 2. Fence: whoever acknowledges first has committed this delivery; everybody else writes nothing.
if fence_group ~= '' and call('XACK', KEYS[1], fence_group, fence_entry) == 0 then
  return {'duplicate'}
end

-- 3. Writes.
for i = 1, #hashes do
  write_fields(unpack(hashes[i]))
end

local answer = {'ok'}
for _ = 1, tonumber(ARGV[at]) do
  local write, key, values = ARGV[at + 1], KEYS[tonumber(ARGV[at + 2])], tonumber(ARGV[at + 3])
  local first, last = at + 4, at + 3 + values
  if write == 'XADD' then
    answer[#answer + 1] = call('XADD', key, unpack(ARGV, first, last))
  else
    call(write, key, unpack(ARGV, first, last))
  end
  at = last
end
return answer
