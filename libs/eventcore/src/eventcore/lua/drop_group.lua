-- Drops a group that has stopped for good. KEYS: stream, beats. ARGV: group, milliseconds without any heartbeat.
-- Answers 1 if it was dropped. A group without a single heartbeat (another library's) is left alone.

local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
if #last == 0 then return 0 end
local time = redis.call('TIME')
if tonumber(last[2]) >= time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[2] then return 0 end
redis.call('DEL', KEYS[2])
return redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1])
