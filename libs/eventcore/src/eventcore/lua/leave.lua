-- Leaves the group. KEYS: stream, beats, members. ARGV: group, consumer, our instance, entry ids whose latest attempt is
-- given back. Where the name is another instance's by now, so is all that is pending on it.
-- A consumer that still holds something is only declared dead, for its peers to take over at their next heartbeat:
-- XGROUP DELCONSUMER would destroy what it holds. Answers how much that is (1 stands for "some").

local group, consumer = ARGV[1], ARGV[2]
local refused = refusal(
  {'XPENDING', KEYS[1]}, {'XRANGE', KEYS[1]}, {'XCLAIM', KEYS[1]}, {'XGROUP', 'DELCONSUMER', KEYS[1]},
  {'ZREM', KEYS[2]}, {'ZADD', KEYS[2]}, {'HGET', KEYS[3]}, {'HDEL', KEYS[3]}
)
if refused then return refused end
local about = redis.call('HGET', KEYS[3], consumer)
if about and string.match(about, '%S+') ~= ARGV[3] then return 0 end
for i = 4, #ARGV do
  local held = redis.call('XPENDING', KEYS[1], group, ARGV[i], ARGV[i], 1, consumer)[1]
  -- Claiming an entry that the stream no longer has would drop it in silence: whoever takes over reports the loss.
  if held and #redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i]) == 1 then
    redis.call('XCLAIM', KEYS[1], group, consumer, 0, ARGV[i], 'RETRYCOUNT', math.max(held[4] - 1, 0), 'JUSTID')
  end
end

local held = #redis.call('XPENDING', KEYS[1], group, '-', '+', 1, consumer)
if held == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], group, consumer)
  redis.call('ZREM', KEYS[2], consumer)
else
  redis.call('ZADD', KEYS[2], 0, consumer)
end
redis.call('HDEL', KEYS[3], consumer)
return held
