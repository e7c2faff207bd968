-- Takes a name in a group, on all its streams or on none. KEYS: beats and members, for each stream. ARGV: the name,
-- milliseconds of silence after which its holder is dead, the holder's beat that the caller has seen stand still for as
-- long, then for each stream what stands beside our beats: our instance, and the event types that we handle.
-- Answers the beat of the name's holder where that lives, or else, for each stream, names and texts of those who live.

local name, patience, stale = ARGV[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

for i = 1, #KEYS, 2 do
  local refused = refusal(
    {'ZADD', KEYS[i]}, {'ZSCORE', KEYS[i]}, {'ZRANGEBYSCORE', KEYS[i]}, {'HGET', KEYS[i + 1]}, {'HSET', KEYS[i + 1]}
  )
  if refused then return refused end
end
local beat = 0
for i = 1, #KEYS, 2 do
  local about = redis.call('HGET', KEYS[i + 1], name)
  if not about or string.match(about, '%S+') ~= string.match(ARGV[4], '%S+') then
    beat = math.max(beat, tonumber(redis.call('ZSCORE', KEYS[i], name) or 0))
  end
end
local seen = string.format('%.0f', beat)
if beat >= now - patience and seen ~= stale then return seen end

local living = {}
for i = 1, #KEYS, 2 do
  redis.call('ZADD', KEYS[i], now, name)
  redis.call('HSET', KEYS[i + 1], name, ARGV[3 + (i + 1) / 2])
  -- Programs from before there were members remove the dead without their places here.
  for _, member in ipairs(may('HKEYS', KEYS[i + 1]) and redis.call('HKEYS', KEYS[i + 1]) or {}) do
    if not redis.call('ZSCORE', KEYS[i], member) then redis.pcall('HDEL', KEYS[i + 1], member) end
  end
  local peers = {}
  for _, peer in ipairs(redis.call('ZRANGEBYSCORE', KEYS[i], now - patience, '+inf', 'LIMIT', 0, 100)) do
    local about = redis.call('HGET', KEYS[i + 1], peer)
    if about and peer ~= name then
      peers[#peers + 1] = peer
      peers[#peers + 1] = about
    end
  end
  living[#living + 1] = peers
end
return living
