-- Takes a lease, or keeps it. KEYS: the lease. ARGV: who, milliseconds for which to have it (0: let go of it).
-- Answers 1 to whoever has it.

local refused = refusal({'GET', KEYS[1]}, {'SET', KEYS[1]}, {'DEL', KEYS[1]})
if refused then return refused end
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
