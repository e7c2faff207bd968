-- Commits transactions one after the other, each of them whole or not at all, and whatever becomes of the others:
-- guards, fence, writes, in this order, so that whatever can fail fails before anything is written (Redis does not roll
-- a script back).
--
-- ARGV[1] is the consumer group whose deliveries of the stream KEYS[1] are settled ('' if none are), each further
-- argument a transaction: a flat list in MessagePack, made by `compiling.py`, which names keys by their number in KEYS.
-- Lua reads a list in C, many times faster than as many arguments. What one command takes stands side by side in it,
-- so that it goes to the command without a table in between.
--
-- Answers with one of these for each: "ok" where a delivery was settled, whose consumer asks for no more
--       | {"ok", entry ids of what was appended …} | {"guards", value or false for each guarded place …}
--       | {"duplicate"} | {"full", key} | {"conflict", key, field, value} | an error

local KEYS = KEYS -- a global is looked up anew each time
local call, find, unpack = redis.call, string.find, unpack
local LARGEST = 9007199254740991 -- 2^53 - 1: beyond it Lua's numbers lose integers
local CHUNK = 1000               -- arguments that `unpack` can surely put on Lua's stack
local SOURCE, GROUP = KEYS[1], ARGV[1]

local lengths = {} -- of streams, as far as they are known

local function length_of(stream)
  local length = lengths[stream] or call('XLEN', stream)
  lengths[stream] = length
  return length
end

local function holds(operator, operand, value, number)
  if operator == 'at_least' then return number and number >= operand + 0 end
  if operator == 'absent' then return not value end
  if operator == 'present' then return value and true end
  return value == operand -- equals
end

local function integer(value)
  local number = find(value, '^-?%d+$') and value + 0
  return number and number >= -LARGEST and number <= LARGEST and number
end

local function read_fields(key, from, first, last)
  if last - first < CHUNK then return call('HMGET', key, unpack(from, first, last)) end
  local values = {}
  for start = first, last, CHUNK do
    local part = call('HMGET', key, unpack(from, start, math.min(start + CHUNK - 1, last)))
    for i = 1, #part do values[#values + 1] = part[i] end
  end
  return values
end

local function write_fields(key, from, first, last)
  for start = first, last, CHUNK do
    call('HSET', key, unpack(from, start, math.min(start + CHUNK - 1, last)))
  end
  lengths[key] = nil -- it is no stream
end

local function commit(message)
  local list = cmsgpack.unpack(message)
  -- 1. Guards, and the types of everything that is going to be written.
  local found, places, failed, hashes = {'guards'}, 1, false, {}
  local entry, at = list[1], 2 -- `at`: what is next in the list

  for _ = 1, list[at] do -- hashes: what is read of each, and what is going to be written to it
    local key, reads = KEYS[list[at + 1]], list[at + 2]
    local name, rule = at + 3, at + 3 + reads -- names; then operator, operand and amount to add, for each of them
    at = rule + 3 * reads
    local updates, n = nil, 0
    if reads == 0 then
      call('HLEN', key) -- raises WRONGTYPE now rather than half-way
    else
      local values = read_fields(key, list, name, rule - 1)
      for i = 1, reads do
        local operator, amount, value = list[rule], list[rule + 2], values[i]
        local number = false
        if value and (amount or operator == 'at_least') then
          number = integer(value)
          if not number then return {'conflict', key, list[name], value} end
        end
        if operator then
          places = places + 1
          found[places] = value
          if not holds(operator, list[rule + 1], value, number) then failed = true end
        end
        if amount then
          local sum = (number or 0) + amount
          if sum < -LARGEST or sum > LARGEST then return {'conflict', key, list[name], value or ''} end
          updates = updates or {}
          updates[n + 1], updates[n + 2] = list[name], sum
          n = n + 2
        end
        name, rule = name + 1, rule + 3
      end
    end
    local values = list[at]
    if updates then
      for i = 1, values do updates[n + i] = list[at + i] end
      hashes[#hashes + 1] = {key, updates, 1, n + values}
    elseif values > 0 then
      hashes[#hashes + 1] = {key, list, at + 1, at + values}
    end
    at = at + values
  end
  at = at + 1

  for _ = 1, list[at] do -- strings
    local operator, value = list[at + 2], call('GET', KEYS[list[at + 1]])
    if operator then
      places = places + 1
      found[places] = value
      if not holds(operator, list[at + 3], value) then failed = true end
    end
    at = at + 3
  end
  at = at + 1

  for _ = 1, list[at] do -- sorted sets
    at = at + 1
    call('ZCARD', KEYS[list[at]])
  end
  at = at + 1

  local full = false
  for _ = 1, list[at] do -- streams, with their hard caps
    local key, cap = KEYS[list[at + 1]], list[at + 2]
    local length = length_of(key)
    if cap and length >= cap then full = key end
    at = at + 2
  end
  at = at + 1

  -- What was committed before is a duplicate, whatever its guards find now: a lost reply is no reason to decide again.
  if (failed or full) and entry then
    local held = redis.pcall('XPENDING', SOURCE, GROUP, entry, entry, 1)
    if held.err and not find(held.err, '^NOGROUP') then return held end
    if #held == 0 then return {'duplicate'} end
  end
  if failed then return found end
  if full then return {'full', full} end

  -- 2. Fence: whoever acknowledges first has committed this delivery; everybody else writes nothing.
  if entry and call('XACK', SOURCE, GROUP, entry) == 0 then
    return {'duplicate'}
  end

  -- 3. Writes.
  for i = 1, #hashes do
    local hash = hashes[i]
    write_fields(hash[1], hash[2], hash[3], hash[4])
  end

  local appended = {'ok'}
  for _ = 1, list[at] do
    local write, key, values = list[at + 1], KEYS[list[at + 2]], list[at + 3]
    local first, last = at + 4, at + 3 + values
    if write == 'XADD' then
      appended[#appended + 1] = call('XADD', key, unpack(list, first, last))
      lengths[key] = list[first] == '*' and lengths[key] and lengths[key] + 1 or nil -- else it may have been trimmed
    else
      call(write, key, unpack(list, first, last))
      lengths[key] = nil -- it may have been deleted
    end
    at = last
  end
  return entry and 'ok' or appended
end

local function failure(reason)
  local message = type(reason) == 'table' and reason.err or reason
  -- What a command fails with begins with a code; what Lua itself fails with does not.
  return {err = find(message, '^%u+ ') and message or 'ERR ' .. message}
end

local answers = {}
for i = 2, #ARGV do
  local sound, answer = pcall(commit, ARGV[i])
  answers[i - 1] = sound and answer or failure(answer)
end
return answers
