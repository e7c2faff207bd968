-- One heartbeat: notes that this consumer lives, by the server's clock. KEYS: beats, members. ARGV: consumer,
-- milliseconds of silence after which a consumer is dead, what stands beside our beats (our instance comes first).
-- Answers the server's time in milliseconds, then the names of the dead; nil if the name is another instance's now.

local refused = refusal(
  {'ZADD', KEYS[1]}, {'ZRANGEBYSCORE', KEYS[1]}, {'HGET', KEYS[2]}, {'HSET', KEYS[2]}
)
if refused then return refused end
local about = redis.call('HGET', KEYS[2], ARGV[1])
if not about then
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
elseif string.match(about, '%S+') ~= string.match(ARGV[3], '%S+') then
  return false
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
-- A beat may lie ahead: before a failover the clock was another one. It counts as of now, or a consumer that died since
-- would be alive until then.
for _, ahead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now), '+inf')) do
  redis.call('ZADD', KEYS[1], now, ahead)
end
local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%.0f', now - ARGV[2]), 'LIMIT', 0, 100)
return {now, unpack(dead)}
