-- Puts deliveries aside for their group: acknowledged, and kept with all that is known of them until their time comes.
-- KEYS: stream, the group's retry stream, its sorted set of what is aside (by due time, milliseconds of the server's
-- clock), its hash of the entries. ARGV: group, consumer, how many may be aside at most; then for each delivery: the
-- number of its stream in KEYS, entry id, name, the name of what must come back before it (or ''), milliseconds until it
-- is due, milliseconds since it was first seen, how many words its entry has, and these: names and values, as they are to
-- stand in the retry stream.
-- Answers 1 for each that is aside now, 0 where it is not pending on this consumer any more; nothing for the last where
-- there was no more room: they are pending as before.

local group, consumer, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
-- What could not come back must not go: so it is asked for the rights to that, too.
local refused = refusal(
  {'XPENDING', KEYS[1]}, {'XPENDING', KEYS[2]}, {'XACK', KEYS[1]}, {'XACK', KEYS[2]}, {'XDEL', KEYS[2]},
  {'ZCARD', KEYS[3]}, {'ZSCORE', KEYS[3]}, {'ZADD', KEYS[3]}, {'HLEN', KEYS[4]}, {'HEXISTS', KEYS[4]},
  {'HSET', KEYS[4]}, {'XADD', KEYS[2]}, {'ZRANGEBYSCORE', KEYS[3]}, {'ZREM', KEYS[3]}, {'HGET', KEYS[4]},
  {'HDEL', KEYS[4]}
)
if refused then return refused end
local _, used_up = length_and_ids(KEYS[2])
if used_up then return {err = 'ERR ' .. KEYS[2] .. ' has exhausted the last possible ID'} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local room = most - redis.call('ZCARD', KEYS[3])
redis.call('HLEN', KEYS[4]) -- raises WRONGTYPE now rather than half-way

local answers, at = {}, 4
while ARGV[at] and room > 0 do
  local stream, id, name = KEYS[tonumber(ARGV[at])], ARGV[at + 1], ARGV[at + 2]
  local last = at + 6 + ARGV[at + 6]
  -- A peer that has taken it over has begun attempts that we know nothing of, and may be at one.
  local ours = #redis.call('XPENDING', stream, group, id, id, 1, consumer)
  if ours == 1 then
    redis.call('XACK', stream, group, id)
    while redis.call('HEXISTS', KEYS[4], name) == 1 do name = name .. "'" end -- another entry of the same id
    local words = {'firstSeen', string.format('%.0f', now - ARGV[at + 5])}
    for i = at + 7, last do words[#words + 1] = ARGV[i] end
    redis.call('HSET', KEYS[4], name, cmsgpack.pack(words))
    local due, first = now + ARGV[at + 4], redis.call('ZSCORE', KEYS[3], ARGV[at + 3])
    if first and due <= tonumber(first) then due = first + 1 end
    redis.call('ZADD', KEYS[3], string.format('%.0f', due), name)
    -- Nobody else reads there, and what is aside comes back as another entry.
    if stream == KEYS[2] then redis.call('XDEL', stream, id) end
    room = room - 1
  end
  answers[#answers + 1] = ours
  at = last + 1
end
return answers
