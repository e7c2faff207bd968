-- Brings back what was put aside and is due, in the order of its time: to the retry stream, which the group reads.
-- KEYS: the group's sorted set of what is aside, its hash of the entries, its retry stream. ARGV: how many at most.
-- Answers how many were due, then the names of those that are lost: somebody has deleted their entries, and they can't
-- come back. What somebody has taken out of the sorted set only is due at once.
-- Any consumer of the group may call it at any time: each entry comes back once.

local refused = refusal(
  {'HLEN', KEYS[2]}, {'HKEYS', KEYS[2]}, {'HGET', KEYS[2]}, {'HDEL', KEYS[2]}, {'ZCARD', KEYS[1]}, {'ZADD', KEYS[1]},
  {'ZRANGEBYSCORE', KEYS[1]}, {'ZREM', KEYS[1]}, {'XADD', KEYS[3]}
)
if refused then return refused end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
if redis.call('HLEN', KEYS[2]) > redis.call('ZCARD', KEYS[1]) then
  for _, name in ipairs(redis.call('HKEYS', KEYS[2])) do redis.call('ZADD', KEYS[1], 'NX', now, name) end
end
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
if #due == 0 then return {0} end
local _, used_up = length_and_ids(KEYS[3])
if used_up then return {err = 'ERR ' .. KEYS[3] .. ' has exhausted the last possible ID'} end
local answer = {#due}
for _, name in ipairs(due) do
  local words = redis.call('HGET', KEYS[2], name)
  if words then
    redis.call('XADD', KEYS[3], '*', unpack(cmsgpack.unpack(words))) -- if this fails, the entry stays aside
    redis.call('HDEL', KEYS[2], name)
  else
    answer[#answer + 1] = name
  end
  redis.call('ZREM', KEYS[1], name)
end
return answer
