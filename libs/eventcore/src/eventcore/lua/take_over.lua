-- Takes over what a dead consumer held, and removes it from the group once it holds nothing.
-- KEYS: stream, beats, members. ARGV: group, consumer (we), the dead one, milliseconds of silence that make it dead,
-- milliseconds of idleness that make a consumer dead that never sent a heartbeat, how many to take at most.
-- Death is checked here and not by the caller, so that a consumer that has come back is never robbed.
-- Answers two lists: {id, attempt} for each entry taken (the attempts are counted when they begin, not here), and the
-- same for each that the stream no longer has (trimmed unread: it is lost, and Redis has dropped it on claiming).

local group, me, dead = ARGV[1], ARGV[2], ARGV[3]
local refused = refusal(
  {'ZSCORE', KEYS[2]}, {'XPENDING', KEYS[1]}, {'XCLAIM', KEYS[1]}, {'XGROUP', 'DELCONSUMER', KEYS[1]},
  {'ZREM', KEYS[2]}, {'HDEL', KEYS[3]}
)
if refused then return refused end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local beat = redis.call('ZSCORE', KEYS[2], dead)
local idle = 0
if beat then
  if tonumber(beat) >= now - ARGV[4] then return {{}, {}} end
else
  idle = ARGV[5]
end

local taken, lost = {}, {}
for _, held in ipairs(redis.call('XPENDING', KEYS[1], group, 'IDLE', idle, '-', '+', ARGV[6], dead)) do
  if #redis.call('XCLAIM', KEYS[1], group, me, idle, held[1], 'JUSTID') == 1 then
    taken[#taken + 1] = {held[1], held[4]}
  else
    lost[#lost + 1] = {held[1], held[4]}
  end
end
-- XGROUP DELCONSUMER destroys what the consumer still holds: only at nothing.
if #redis.call('XPENDING', KEYS[1], group, '-', '+', 1, dead) == 0 and (beat or #taken > 0) then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], group, dead)
  redis.call('ZREM', KEYS[2], dead)
  redis.call('HDEL', KEYS[3], dead)
end
return {taken, lost}
