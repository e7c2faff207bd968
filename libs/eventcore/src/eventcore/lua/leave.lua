-- Leaves the group. KEYS: stream, beats. ARGV: group, consumer.
-- A consumer that still holds something is only declared dead, for its peers to take over at their next heartbeat:
-- XGROUP DELCONSUMER would destroy what it holds. Answers how much that is (1 stands for "some").

local held = #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if held == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
  redis.call('ZREM', KEYS[2], ARGV[2])
else
  redis.call('ZADD', KEYS[2], 0, ARGV[2])
end
return held
