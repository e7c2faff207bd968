-- Commits one transaction: guards, fence, writes, in this order, so that whatever can fail fails before anything is
-- written (Redis does not roll a script back). The layout of KEYS and ARGV is made by `compile_transaction` in commit.py.
--
-- Answers {"ok", entry ids of what was appended …} | {"guards", value or false for each guarded place …}
--       | {"duplicate"} | {"full", key} | {"conflict", key, field, value}

local call, find = redis.call, string.find
local LARGEST = 9007199254740991 -- 2^53 - 1: beyond it Lua's numbers lose integers
local CHUNK = 1000               -- arguments that `unpack` can surely put on Lua's stack

local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end
local function take_number()
  return tonumber(take())
end

local function holds(operator, operand, value)
  if operator == '' then return true end
  if operator == 'absent' then return not value end
  if operator == 'present' then return value and true end
  if operator == 'equals' then return value == operand end
  return value and tonumber(value) >= tonumber(operand) -- at_least
end

local function integer(value)
  local number = find(value, '^-?%d+$') and tonumber(value)
  return number and number >= -LARGEST and number <= LARGEST and number
end

local function in_chunks(command, key, arguments)
  for first = 1, #arguments, CHUNK do
    call(command, key, unpack(arguments, first, math.min(first + CHUNK - 1, #arguments)))
  end
end

local function read_fields(key, names)
  if #names <= CHUNK then return call('HMGET', key, unpack(names)) end
  local values = {}
  for first = 1, #names, CHUNK do
    local part = call('HMGET', key, unpack(names, first, math.min(first + CHUNK - 1, #names)))
    for i = 1, #part do values[#values + 1] = part[i] end
  end
  return values
end

-- 1. Guards, and the types of everything that is going to be written.
local found, failed, hashes = {'guards'}, false, {}

local fence_group = take()
local fence_entry = take()

for _ = 1, take_number() do -- hashes: what is read of each, and what is going to be written to it
  local key = KEYS[take_number()]
  local names, rules, updates = {}, {}, {}
  for i = 1, take_number() do
    names[i] = take()
    rules[i] = {take(), take(), take()} -- operator, operand, amount to add
  end
  if #names == 0 then
    call('HLEN', key) -- raises WRONGTYPE now rather than half-way
  else
    local values = read_fields(key, names)
    for i = 1, #names do
      local operator, operand, amount, value = rules[i][1], rules[i][2], rules[i][3], values[i]
      if (operator == 'at_least' or amount ~= '') and value and not integer(value) then
        return {'conflict', key, names[i], value}
      end
      if operator ~= '' then
        found[#found + 1] = value
        if not holds(operator, operand, value) then failed = true end
      end
      if amount ~= '' then
        local sum = (value and tonumber(value) or 0) + tonumber(amount)
        if not (math.abs(sum) <= LARGEST and math.abs(amount) <= LARGEST) then return {'conflict', key, names[i], value or ''} end
        updates[#updates + 1] = names[i]
        updates[#updates + 1] = string.format('%.0f', sum)
      end
    end
  end
  for _ = 1, take_number() do
    updates[#updates + 1] = take()
    updates[#updates + 1] = take()
  end
  if #updates > 0 then hashes[#hashes + 1] = {key, updates} end
end

for _ = 1, take_number() do -- strings
  local key, operator, operand = KEYS[take_number()], take(), take()
  local value = call('GET', key)
  if operator ~= '' then
    found[#found + 1] = value
    if not holds(operator, operand, value) then failed = true end
  end
end

for _ = 1, take_number() do -- sorted sets
  call('ZCARD', KEYS[take_number()])
end

local full = false
for _ = 1, take_number() do -- streams, with their hard caps
  local key, cap = KEYS[take_number()], take()
  local length = call('XLEN', key)
  if cap ~= '' and length >= tonumber(cap) then full = key end
end

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
for _, hash in ipairs(hashes) do
  in_chunks('HSET', hash[1], hash[2])
end

local answer = {'ok'}
for _ = 1, take_number() do
  local write, key = take(), KEYS[take_number()]
  if write == 'xadd' then
    local limit, entry = take(), {}
    for i = 1, take_number() do entry[i] = take() end
    if limit == '' then
      answer[#answer + 1] = call('XADD', key, '*', unpack(entry))
    else
      answer[#answer + 1] = call('XADD', key, 'MAXLEN', '~', limit, '*', unpack(entry))
    end
  elseif write == 'zadd' then
    call('ZADD', key, take(), take())
  elseif write == 'zrem' then
    call('ZREM', key, take())
  elseif write == 'pexpire' then
    call('PEXPIRE', key, take())
  elseif write == 'setpx' then
    call('SET', key, take(), 'PX', take())
  elseif write == 'set' then
    call('SET', key, take())
  else
    call('DEL', key)
  end
end
return answer
