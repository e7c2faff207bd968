-- One heartbeat: notes that this consumer lives, by the server's clock. KEYS: beats. ARGV: consumer, milliseconds of
-- silence after which a consumer is dead. Answers the names of the dead.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%.0f', now - ARGV[2]), 'LIMIT', 0, 100)
