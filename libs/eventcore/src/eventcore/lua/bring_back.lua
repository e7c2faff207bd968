-- Brings back what was put aside and is due, in the order of its time: to the retry stream, which the group reads.
-- KEYS: the group's sorted set of what is aside, its hash of the entries, its retry stream. ARGV: how many at most.
-- Answers how many came back. Any consumer of the group may call it at any time: each entry comes back once.

local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
if #due == 0 then return 0 end
local refused = refusal({'HGET', KEYS[2]}, {'XADD', KEYS[3]}, {'HDEL', KEYS[2]}, {'ZREM', KEYS[1]})
if refused then return refused end
for _, name in ipairs(due) do
  local words = redis.call('HGET', KEYS[2], name)
  if words then
    redis.call('XADD', KEYS[3], '*', unpack(cmsgpack.unpack(words))) -- if this fails, the entry stays aside
    redis.call('HDEL', KEYS[2], name)
  end
  redis.call('ZREM', KEYS[1], name)
end
return #due
