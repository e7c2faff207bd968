-- One heartbeat: notes that this consumer lives, by the server's clock, on all its streams or on none: with a part of a name
-- each, two processes would keep each other from the whole. KEYS: beats and members, for each stream. ARGV: consumer,
-- milliseconds of silence after which a consumer is dead, then for each stream what stands beside our beats (our instance
-- comes first).
-- Answers the server's time in milliseconds, then for each stream the names of the dead; nil if the name is another
-- instance's now.

local name, patience = ARGV[1], ARGV[2]
for i = 1, #KEYS, 2 do
  local refused = refusal(
    {'ZADD', KEYS[i]}, {'ZRANGEBYSCORE', KEYS[i]}, {'HGET', KEYS[i + 1]}, {'HSET', KEYS[i + 1]}
  )
  if refused then return refused end
end
local unknown = {}
for i = 1, #KEYS, 2 do
  local about, own = redis.call('HGET', KEYS[i + 1], name), ARGV[2 + (i + 1) / 2]
  if not about then
    unknown[KEYS[i + 1]] = own
  elseif string.match(about, '%S+') ~= string.match(own, '%S+') then
    return false
  end
end
for key, own in pairs(unknown) do redis.call('HSET', key, name, own) end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local past = string.format('%.0f', now)
local answer = {now}
for i = 1, #KEYS, 2 do
  redis.call('ZADD', KEYS[i], now, name)
  -- A beat may lie ahead: before a failover the clock was another one. It counts as of now, or a consumer that died
  -- since would be alive until then.
  for _, ahead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[i], '(' .. past, '+inf')) do
    redis.call('ZADD', KEYS[i], now, ahead)
  end
  local dead = '(' .. string.format('%.0f', now - patience)
  answer[#answer + 1] = redis.call('ZRANGEBYSCORE', KEYS[i], '-inf', dead, 'LIMIT', 0, 100)
end
return answer
