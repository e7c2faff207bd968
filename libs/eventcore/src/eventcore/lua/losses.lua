-- Finds groups that stand before entries which are gone: trimmed or deleted, by somebody who asked nobody, before the
-- group had been given them. Corrects the count of what these groups have read: so only one caller hears of a loss, and
-- the server's figure for the lag is true again (redis#13957). KEYS: stream.
-- Answers {name of the group, how many entries it has lost} for each.

if redis.call('EXISTS', KEYS[1]) == 0 then return {} end

local function parts(id)
  local dash = string.find(id, '-', 1, true)
  return tonumber(string.sub(id, 1, dash - 1)), tonumber(string.sub(id, dash + 1))
end
local function before(a, b)
  local a_time, a_number = parts(a)
  local b_time, b_number = parts(b)
  return a_time < b_time or (a_time == b_time and a_number < b_number)
end
local function pairs_of(flat)
  local map = {}
  for i = 1, #flat, 2 do map[flat[i]] = flat[i + 1] end
  return map
end

local stream = pairs_of(redis.call('XINFO', 'STREAM', KEYS[1]))
local gone = stream['entries-added'] - stream['length']
local first = stream['first-entry'] and stream['first-entry'][1] or stream['last-generated-id']
local answer = {}
for _, row in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = pairs_of(row)
  -- Who has not read yet has no count: such a group begins where the stream does.
  local read, id = group['entries-read'], group['last-delivered-id']
  if read and read < gone and before(id, first) then
    redis.call('XGROUP', 'SETID', KEYS[1], group['name'], id, 'ENTRIESREAD', gone)
    answer[#answer + 1] = {group['name'], gone - read}
  end
end
return answer
