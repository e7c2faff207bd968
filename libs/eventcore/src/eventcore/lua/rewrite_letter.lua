-- Puts a dead letter into the place of another, which is no longer to be read. KEYS: dead letters. ARGV: id of the letter
-- that goes, names and values of the new one. Answers 1, or 0 when the letter is gone.

local refused = refusal({'XRANGE', KEYS[1]}, {'XADD', KEYS[1]}, {'XDEL', KEYS[1]})
if refused then return refused end
if not redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1] then return 0 end
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
