-- Finds groups that stand before entries which are gone: trimmed or deleted, by somebody who asked nobody, before the
-- group had been given them. Corrects the count of what these groups have read: so only one caller hears of a loss, and
-- the server's figure for the lag is true again (redis#13957). KEYS: stream.
-- Answers {name of the group, how many entries it has lost} for each.

local refused = refusal(
  {'EXISTS', KEYS[1]}, {'XINFO', 'STREAM', KEYS[1]}, {'XINFO', 'GROUPS', KEYS[1]}, {'XRANGE', KEYS[1]},
  {'XGROUP', 'SETID', KEYS[1]}
)
if refused then return refused end
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end

redis.setresp(3) -- in which XINFO answers maps
local stream = redis.call('XINFO', 'STREAM', KEYS[1]).map
local gone = stream['entries-added'] - stream['length']
local answer = {}
for _, row in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = row.map
  local read, id = group['entries-read'], group['last-delivered-id']
  -- Who has not read yet has no count: such a group begins where the stream does.
  if read and read < gone and id ~= stream['last-generated-id']
      and #redis.call('XRANGE', KEYS[1], '-', id, 'COUNT', 1) == 0 then
    redis.call('XGROUP', 'SETID', KEYS[1], group['name'], id, 'ENTRIESREAD', gone)
    answer[#answer + 1] = {group['name'], gone - read}
  end
end
return answer
