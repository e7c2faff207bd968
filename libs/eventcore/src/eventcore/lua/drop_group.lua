-- Drops a group that has stopped for good, with what it has put aside. KEYS: stream, beats, members, and the two keys of
-- what is aside. ARGV: group, milliseconds without any heartbeat.
-- Answers 1 if it was dropped. A group without a single heartbeat (another library's) is left alone.

local refused = refusal(
  {'ZREVRANGE', KEYS[2]}, {'ZADD', KEYS[2]}, {'DEL', KEYS[2]}, {'DEL', KEYS[3]}, {'DEL', KEYS[4]}, {'DEL', KEYS[5]},
  {'XGROUP', 'DESTROY', KEYS[1]}
)
if refused then return refused end
local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
if #last == 0 then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if tonumber(last[2]) > now then -- by the clock of another server, before a failover: it counts as of now
  redis.call('ZADD', KEYS[2], now, last[1])
  return 0
end
if tonumber(last[2]) >= now - ARGV[2] then return 0 end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
return redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1])
