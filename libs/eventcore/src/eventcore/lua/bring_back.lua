-- Brings back what was put aside and is due, in the order of its time: to the retry stream, which the group reads.
-- KEYS: the group's sorted set of what is aside, its hash of the entries, its retry stream. ARGV: how many at most.
-- Answers how many were due, and where it is not all well, the names of those that are lost (somebody has deleted their
-- entries: they can't come back) and of those that can't be read (a newer program's, perhaps: they stay aside for another
-- minute, in nobody's way). What somebody has taken out of the sorted set only is due at once.
-- Any consumer of the group may call it at any time: each entry comes back once.

local refused = refusal(
  {'HLEN', KEYS[2]}, {'HKEYS', KEYS[2]}, {'HGET', KEYS[2]}, {'HDEL', KEYS[2]}, {'ZCARD', KEYS[1]}, {'ZADD', KEYS[1]},
  {'ZRANGEBYSCORE', KEYS[1]}, {'ZREM', KEYS[1]}, {'XADD', KEYS[3]}
)
if refused then return refused end
local time = redis.call('TIME')
local milliseconds = time[1] * 1000 + math.floor(time[2] / 1000)
local now, later = string.format('%.0f', milliseconds), string.format('%.0f', milliseconds + 60000)
if redis.call('HLEN', KEYS[2]) > redis.call('ZCARD', KEYS[1]) then
  for _, name in ipairs(redis.call('HKEYS', KEYS[2])) do redis.call('ZADD', KEYS[1], 'NX', now, name) end
end
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
if #due == 0 then return {0} end
local _, used_up = length_and_ids(KEYS[3])
if used_up then return {err = 'ERR ' .. KEYS[3] .. ' has exhausted the last possible ID'} end

-- The names and values of an entry, as they were packed; nothing where they are none.
local function words_of(packed)
  local is_packed, words = pcall(cmsgpack.unpack, packed)
  if not is_packed or type(words) ~= 'table' or #words < 2 or #words > 4000 or #words % 2 == 1 then return end
  for _, word in ipairs(words) do
    if type(word) ~= 'string' then return end
  end
  return words
end

local lost, unreadable = {}, {}
for _, name in ipairs(due) do
  local packed = redis.call('HGET', KEYS[2], name)
  local words = packed and words_of(packed)
  if words then
    redis.call('XADD', KEYS[3], '*', unpack(words)) -- if this fails, the entry stays aside
    redis.call('HDEL', KEYS[2], name)
  end
  if packed and not words then
    redis.call('ZADD', KEYS[1], later, name)
    unreadable[#unreadable + 1] = name
  else
    if not packed then lost[#lost + 1] = name end
    redis.call('ZREM', KEYS[1], name)
  end
end
return (#lost + #unreadable > 0) and {#due, lost, unreadable} or {#due}
