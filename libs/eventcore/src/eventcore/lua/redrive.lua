-- Hands one dead letter back to the group that failed it. KEYS: dead letters, the group's retry stream.
-- ARGV: letter id, group. Answers 1, or 0 when the letter is gone: somebody has already handed it back.

local refused = refusal(
  {'XRANGE', KEYS[1]}, {'XDEL', KEYS[1]}, {'XADD', KEYS[2]}, {'XGROUP', 'CREATE', KEYS[2]}
)
if refused then return refused end
local letter = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not letter then return 0 end
local event, failed
for i = 1, #letter[2], 2 do
  if letter[2][i] == 'event' then event = letter[2][i + 1] end
  if letter[2][i] == 'failedAttempt' then failed = letter[2][i + 1] end
end
if not event then return 0 end
-- What may fail comes first; the group must exist, or the event would wait for nobody.
redis.pcall('XGROUP', 'CREATE', KEYS[2], ARGV[2], '0', 'MKSTREAM')
if failed then
  redis.call('XADD', KEYS[2], '*', 'event', event, 'failedAttempt', failed)
else
  redis.call('XADD', KEYS[2], '*', 'event', event)
end
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
