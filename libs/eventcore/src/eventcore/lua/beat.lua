-- One heartbeat: notes that this consumer lives, by the server's clock. KEYS: beats. ARGV: consumer, milliseconds of
-- silence after which a consumer is dead. Answers the server's time in milliseconds, then the names of the dead.

local refused = refusal({'ZADD', KEYS[1]}, {'ZRANGEBYSCORE', KEYS[1]})
if refused then return refused end
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
