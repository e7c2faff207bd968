-- Hands one dead letter back to the group that failed it. KEYS: dead letters, the group's retry stream.
-- ARGV: letter id, group. Answers 1, or 0 when the letter is gone: somebody has already handed it back.

local refused = refusal(
  {'XRANGE', KEYS[1]}, {'XDEL', KEYS[1]}, {'XADD', KEYS[2]}, {'XGROUP', 'CREATE', KEYS[2]}
)
if refused then return refused end
local letter = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not letter then return 0 end
local held = {}
for i = 1, #letter[2], 2 do held[letter[2][i]] = letter[2][i + 1] end
if not held.event then return 0 end
local words = {'event', held.event}
-- Where it first stood, for the letter that there may be again; and the attempt that failed.
for _, name in ipairs({'entryId', 'failedAttempt'}) do
  if held[name] and held[name] ~= '' then
    words[#words + 1] = name
    words[#words + 1] = held[name]
  end
end
-- What may fail comes first; the group must exist, or the event would wait for nobody.
redis.pcall('XGROUP', 'CREATE', KEYS[2], ARGV[2], '0', 'MKSTREAM')
redis.call('XADD', KEYS[2], '*', unpack(words))
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
