-- Commits transactions one after the other, each of them whole or not at all, and whatever becomes of the others:
-- guards, fence, writes, in this order, so that whatever can fail fails before anything is written (Redis does not roll
-- a script back).
--
-- ARGV[1] is the consumer group whose deliveries of the stream KEYS[1] are settled ('' if none are). ARGV[2] tells which
-- fields of which hashes the call looks at, and which hashes are expected not to be there yet. Each further argument is
-- a transaction. All are MessagePack, by the grammar at the top of commit/compiler.py, and name keys by their number in
-- KEYS, fields by their number in their hash. A transaction is a flat list: what one command takes stands side by side
-- in it, so that it goes to the command without a table in between.
--
-- Every command costs, beside its work, as much as a hundred steps of Lua. So what many transactions look at is read
-- once, for all of them, and what they add to it is written once, before anything else could see the difference.
--
-- Answers with one of these for each: "ok" where a delivery was settled, whose consumer asks for no more
--       | {"ok", entry ids of what was appended …}
--       | {"guards", value or false for each guarded place …, reply of each read for `otherwise` …}
--       | {"duplicate"} | {"full", key, why} | {"forbidden", command, key} | {"conflict", key, field, value} | an error

local KEYS = KEYS -- a global is looked up anew each time
local call, type, unpack = redis.call, type, unpack
local byte, find, format, unpack_limit = string.byte, string.find, string.format, cmsgpack.unpack_limit
local LARGEST = 9007199254740991 -- 2^53 - 1: beyond it Lua's numbers lose integers
local CHUNK = 1000               -- arguments that `unpack` can surely put on Lua's stack
local SOURCE, GROUP = KEYS[1], ARGV[1]
local FIELDS, NEW = unpack(cmsgpack.unpack(ARGV[2]))

-- What is known of keys, by number: of which kind they are, how much is in them, what those fields of a hash hold that
-- the call looks at (numbers where something was added), and which of these are still to be written.
local kinds, sizes, values, changed = {}, {}, {}, {}
local indexes = {} -- the numbers of a hash's fields, by name, where they are needed
local used_up = {} -- which streams can give no more ids
local allowed = {} -- whether a command may be run, by the key's number
local asking, asked -- the latest command that looks, and its key
local NOTHING = {} -- the values of a hash that is not there: whoever changes them makes a table for it
local SIZE_OF = {hash = 'HLEN', ['sorted set'] = 'ZCARD', stream = 'XLEN'}

local function as_text(value)
  return type(value) == 'number' and format('%.0f', value) or value
end

local function write_fields(number, from, first, last)
  for start = first, last, CHUNK do
    call('HSET', KEYS[number], unpack(from, start, math.min(start + CHUNK - 1, last)))
  end
end

-- To ask for each key would cost 5 to 9 % of a reservation's time on the server; so it costs 1 to 4 %. Who may do all of this
-- to a key that no rule names may do it to every key, and need not be asked again.
local ANY_KEY = '\1any key\1'
local FEW = 4 -- arguments of a call that runs fewer commands than these
local free = #ARGV > FEW and may('XACK', ANY_KEY) and may('HSET', ANY_KEY) and may('XADD', ANY_KEY)
  and may('PEXPIRE', ANY_KEY) and may('SET', ANY_KEY) and may('DEL', ANY_KEY) and may('ZADD', ANY_KEY)
  and may('ZREM', ANY_KEY)

local function allows(command, number)
  if free then return true end
  local known = allowed[command]
  if not known then
    known = {}
    allowed[command] = known
  end
  if known[number] == nil then known[number] = may(command, KEYS[number]) end
  return known[number]
end

-- Notes what is asked, so that a refusal can name it.
local function ask(command, number, ...)
  asking, asked = command, KEYS[number]
  return call(command, asked, ...)
end

-- Before anything that must find, or come after, what was added.
local function write_additions(number)
  local additions = changed[number]
  if not additions then return end
  local names, held, fields, n = FIELDS[number], values[number], {}, 0
  for index in pairs(additions) do
    fields[n + 1], fields[n + 2] = names[index], held[index]
    n = n + 2
  end
  write_fields(number, fields, 1, n)
  changed[number] = nil
end

-- Before anything is done to a key that what is known of it does not follow.
local function forget(number)
  write_additions(number)
  kinds[number], sizes[number], values[number] = nil, nil, nil
end

-- Raises WRONGTYPE now rather than half-way.
local function look_at(number, kind)
  if kinds[number] == kind then return end
  write_additions(number)
  local size = ask(SIZE_OF[kind], number)
  forget(number)
  kinds[number], sizes[number] = kind, size
end

-- A stream that must be able to give an id when its turn comes. To ask takes four times as long as its length alone.
local function look_at_ids(number)
  if used_up[number] == nil then
    local length, none_left = length_and_ids(KEYS[number])
    used_up[number] = none_left and true or false
    if length then kinds[number], sizes[number] = 'stream', length end
  end
  look_at(number, 'stream')
end

local function note_appended(number, id)
  if id == '*' and sizes[number] then
    sizes[number] = sizes[number] + 1
  else
    forget(number) -- it may have been trimmed
  end
end

local function look_at_fields(number)
  local names, held = FIELDS[number], nil
  for start = 1, #names, CHUNK do
    local part = ask('HMGET', number, unpack(names, start, math.min(start + CHUNK - 1, #names)))
    if held then
      for i = 1, #part do held[#held + 1] = part[i] end
    else
      held = part
    end
  end
  kinds[number], values[number] = 'hash', held
  return held
end

-- One look at all that should be new saves one at each.
local function look_at_new()
  local keys = {}
  for i = 1, #NEW do keys[i] = KEYS[NEW[i]] end
  if #keys > 1 and #keys < CHUNK and redis.pcall('EXISTS', unpack(keys)) == 0 then
    for i = 1, #NEW do kinds[NEW[i]], values[NEW[i]] = 'hash', NOTHING end
  end
end

local function add(number, index, sum)
  if values[number] == NOTHING then values[number] = {} end
  values[number][index] = sum
  local additions = changed[number]
  if additions then
    additions[index] = true
  else
    changed[number] = {[index] = true}
  end
end

-- Puts values into a hash. `reads` are the fields of it that the transaction itself looks at: where these are all, the next
-- one may as well look again; where others look at more, to follow what they will find is cheaper.
local function set_fields(number, list, first, last, reads)
  local names = FIELDS[number]
  if not (names and values[number]) or reads >= #names then
    forget(number)
    write_fields(number, list, first, last)
    return
  end
  write_fields(number, list, first, last)
  if values[number] == NOTHING then values[number] = {} end
  if not indexes[number] then
    indexes[number] = {}
    for index = 1, #names do indexes[number][names[index]] = index end
  end
  local held, index_of = values[number], indexes[number]
  for i = first, last, 2 do
    local index = index_of[list[i]]
    if index then held[index] = list[i + 1] end
  end
end

local function holds(operator, operand, value, whole)
  if operator == 'at_least' then return whole and whole >= operand + 0 end
  if operator == 'absent' then return not value end
  if operator == 'present' then return value and true end
  return as_text(value) == operand -- equals
end

local function integer(value)
  if type(value) == 'number' then return value end
  local whole = find(value, '^-?%d+$') and value + 0
  return whole and whole >= -LARGEST and whole <= LARGEST and whole
end

-- The items of a transaction, from 2 on. A table that is made for all of them at once takes half of the time of one that
-- grows.
local MOST = 4000 -- that Lua's stack surely takes
local function items_of(message)
  local header = byte(message)
  if header ~= 0xdd then -- that of a list of more than 65,535
    local list = {unpack_limit(message, MOST, header == 0xdc and 3 or 1)}
    if list[1] == -1 then return list end -- nothing is left
  end
  local list = cmsgpack.unpack(message)
  table.insert(list, 1, -1)
  return list
end

-- What guarded places hold, what fields are going to hold, and what is going to be put into hashes: made once, because
-- that costs as much as filling them, and valid as far as a transaction has filled them.
local found, sums, hashes = {}, {}, {}

-- The command and the key of the first of these writes that may not be run, if any.
local function refused_write(list, at)
  for _ = 1, list[at] do
    local write, number = list[at + 1], list[at + 2]
    if not allows(write, number) then return {write, KEYS[number]} end
    at = at + 3 + list[at + 3]
  end
end

-- What `otherwise` is to see beside the guarded places. It stands behind the writes, and is looked for only here.
local function read_for_otherwise(list, at, answer)
  for _ = 1, list[at] do at = at + 3 + list[at + 3] end
  at = at + 1
  for _ = 1, list[at] or 0 do
    local command, number, count = list[at + 1], list[at + 2], list[at + 3]
    write_additions(number)
    answer[#answer + 1] = redis.pcall(command, KEYS[number], unpack(list, at + 4, at + 3 + count))
    at = at + 3 + count
  end
end

local function commit(message)
  local list = items_of(message)
  -- 1. Guards, the types of everything that is going to be written, and the right to do so.
  local places, failed, refused, n, h = 0, false, false, 0, 0
  local entry, at = list[2], 3 -- `at`: what is next in the list

  for _ = 1, list[at] do -- hashes: what is read of each, and what is going to be written to it
    local number, reads = list[at + 1], list[at + 2]
    at = at + 3
    local held
    if reads > 0 then
      held = values[number] or look_at_fields(number)
    else
      look_at(number, 'hash')
    end
    for _ = 1, reads do -- field, operator, operand, and amount to add
      local index, operator, amount = list[at], list[at + 1], list[at + 3]
      local value, whole = held[index], false
      if value and (amount or operator == 'at_least') then
        whole = integer(value)
        if not whole then return {'conflict', KEYS[number], FIELDS[number][index], value} end
      end
      if operator then
        places = places + 1
        found[places] = value or false
        if not holds(operator, list[at + 2], value, whole) then failed = true end
      end
      if amount then
        local sum = (whole or 0) + amount
        if sum < -LARGEST or sum > LARGEST then
          return {'conflict', KEYS[number], FIELDS[number][index], as_text(value or '')}
        end
        sums[n + 1], sums[n + 2], sums[n + 3] = number, index, sum
        n = n + 3
      end
      at = at + 4
    end
    local count = list[at]
    if not free and (count > 0 or sums[n - 2] == number) and not allows('HSET', number) then
      refused = {'HSET', KEYS[number]}
    end
    if count > 0 then
      hashes[h + 1], hashes[h + 2], hashes[h + 3], hashes[h + 4] = number, at + 1, at + count, reads
      h = h + 4
    end
    at = at + count
  end
  at = at + 1

  for _ = 1, list[at] do -- strings
    local number, operator = list[at + 1], list[at + 2]
    write_additions(number)
    local value = ask('GET', number)
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
    look_at(list[at], 'sorted set')
  end
  at = at + 1

  local full, why = false, nil
  -- The only stream of a request is not asked for its ids: its append is the very first write, and may be refused.
  local tries = not entry and list[at] == 1 and list[at + 4] == 'XADD'
  for _ = 1, list[at] do -- streams, with their hard caps
    local number, cap = list[at + 1], list[at + 2]
    if tries then look_at(number, 'stream') else look_at_ids(number) end
    if used_up[number] then
      full, why = KEYS[number], 'out of entry ids'
    elseif cap and sizes[number] >= cap then
      full, why = KEYS[number], 'at its hard cap'
    end
    at = at + 2
  end
  at = at + 1

  if not free then
    refused = refused or refused_write(list, at) or entry and not allows('XACK', 1) and {'XACK', SOURCE}
  end

  -- What was committed before is a duplicate, whatever its guards find now: a lost reply is no reason to decide again.
  if (failed or full or refused) and entry then
    if not may('XPENDING', SOURCE) then return {'forbidden', 'XPENDING', SOURCE} end
    local held = redis.pcall('XPENDING', SOURCE, GROUP, entry, entry, 1)
    if held.err and not find(held.err, '^NOGROUP') then return held end
    if #held == 0 then return {'duplicate'} end
  end
  if failed then
    local answer = {'guards'}
    for i = 1, places do answer[i + 1] = as_text(found[i]) end
    read_for_otherwise(list, at, answer)
    return answer
  end
  if full then return {'full', full, why} end
  if refused then return {'forbidden', unpack(refused)} end

  -- 2. Fence: whoever acknowledges first has committed this delivery; everybody else writes nothing.
  if entry and call('XACK', SOURCE, GROUP, entry) == 0 then
    return {'duplicate'}
  end

  -- 3. Writes.
  local appended, left = not entry and {'ok'}, list[at]
  if tries then
    local number, last = list[at + 2], at + 3 + list[at + 3]
    local id = redis.pcall('XADD', KEYS[number], unpack(list, at + 4, last))
    if type(id) == 'table' then
      return find(id.err, 'exhausted', 1, true) and {'full', KEYS[number], 'out of entry ids'} or id
    end
    appended[2] = id
    note_appended(number, list[at + 4])
    at, left = last, left - 1
  end
  for i = 1, n, 3 do add(sums[i], sums[i + 1], sums[i + 2]) end
  for i = 1, h, 4 do set_fields(hashes[i], list, hashes[i + 1], hashes[i + 2], hashes[i + 3]) end

  for _ = 1, left do
    local write, number, count = list[at + 1], list[at + 2], list[at + 3]
    local first, last = at + 4, at + 3 + count
    if write == 'XADD' then
      local id = call('XADD', KEYS[number], unpack(list, first, last))
      if appended then appended[#appended + 1] = id end
      note_appended(number, list[first])
    else
      if write == 'PEXPIRE' then
        write_additions(number) -- so that there is something to expire
      elseif write == 'SET' or write == 'DEL' or kinds[number] ~= 'sorted set' then
        forget(number)
      end
      call(write, KEYS[number], unpack(list, first, last))
      if write == 'DEL' and FIELDS[number] then kinds[number], values[number] = 'hash', NOTHING end
    end
    at = last
  end
  return appended or 'ok'
end

local function failure(reason)
  if asking and not may(asking, asked) then return {'forbidden', asking, asked} end
  local message = type(reason) == 'table' and reason.err or reason
  -- What a command fails with begins with a code; what Lua itself fails with does not.
  return {err = find(message, '^%u+ ') and message or 'ERR ' .. message}
end

look_at_new()
local answers = {}
for i = 3, #ARGV do
  asking = nil
  local sound, answer = pcall(commit, ARGV[i])
  answers[i - 2] = sound and answer or failure(answer)
end
for number in pairs(changed) do
  local sound, reason = pcall(write_additions, number)
  if not sound then return {err = 'ERR not all was written: ' .. failure(reason).err} end
end
return answers
