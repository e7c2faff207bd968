-- Trims dead letters by the server's clock, which stamped them: a replica's own may be off by days. KEYS: dead letters.
-- ARGV: milliseconds for which they are kept. Answers how many went.

local refused = refusal({'XTRIM', KEYS[1]})
if refused then return refused end
local time = redis.call('TIME')
local oldest = math.max(0, time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1])
return redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%.0f-0', oldest))
