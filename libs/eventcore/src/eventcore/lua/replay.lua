-- Hands entries of a stream to one group once more, by its retry stream. KEYS: stream, the group's retry stream, its hash
-- of what is aside. ARGV: group, most entries of the retry stream, its last id as the caller knows it, 1 to only count,
-- entry ids.
-- Answers {last id of the retry stream, how many were handed over, how many wait for the group: pending or aside}. Only
-- {last id} where that is not as the caller knows it: he looks at what has been added, which may be the same entries. And
-- {last id, 'full'} where there is no room for all. Then nothing was handed over. What is gone from the stream is left out.

local refused = refusal(
  {'XRANGE', KEYS[1]}, {'XPENDING', KEYS[1]}, {'EXISTS', KEYS[2]}, {'XINFO', 'STREAM', KEYS[2]}, {'XADD', KEYS[2]},
  {'XGROUP', 'CREATE', KEYS[2]}, {'HGET', KEYS[3]}
)
if refused then return refused end
local length, last = 0, '0-0'
if redis.call('EXISTS', KEYS[2]) == 1 then
  local facts = redis.call('XINFO', 'STREAM', KEYS[2])
  for i = 1, #facts, 2 do
    if facts[i] == 'length' then length = facts[i + 1] end
    if facts[i] == 'last-generated-id' then last = facts[i + 1] end
  end
end
if last ~= ARGV[3] then return {last} end

local adds, waiting = {}, 0
for i = 5, #ARGV do
  local id = ARGV[i]
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  local held = {}
  for j = 1, entry and #entry[2] or 0, 2 do held[entry[2][j]] = entry[2][j + 1] end
  if #redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1) == 1 or redis.call('HGET', KEYS[3], id) then
    waiting = waiting + 1
  elseif held.event then
    adds[#adds + 1] = {'event', held.event, 'entryId', id} -- where it first stood, as for what was redriven
  end
end
if length + #adds > tonumber(ARGV[2]) then return {last, 'full'} end
if ARGV[4] == '1' or #adds == 0 then return {last, #adds, waiting} end
-- What may fail comes first; the group must exist, or the events would wait for nobody.
redis.pcall('XGROUP', 'CREATE', KEYS[2], ARGV[1], '0', 'MKSTREAM')
for _, words in ipairs(adds) do last = redis.call('XADD', KEYS[2], '*', unpack(words)) end
return {last, #adds, waiting}
