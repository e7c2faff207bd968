-- Rewrites fields of a record, unless somebody has changed one of them meanwhile. KEYS: record. ARGV: for each field its
-- name, what it held, and '1' with what it is to hold, or '0' and '' where it goes. Answers 1, or 0 where nothing was done.

local refused = refusal({'HGET', KEYS[1]}, {'HSET', KEYS[1]}, {'HDEL', KEYS[1]})
if refused then return refused end
for i = 1, #ARGV, 4 do
  if redis.call('HGET', KEYS[1], ARGV[i]) ~= ARGV[i + 1] then return 0 end
end
for i = 1, #ARGV, 4 do
  if ARGV[i + 2] == '1' then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 3])
  else
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return 1
