-- Begins another attempt at deliveries that are still ours. KEYS: stream. ARGV: group, consumer, what to add to the
-- attempt counter (0 or 1), entry ids.
-- Answers, for each entry that this consumer still holds, {id, attempt, fields}, or {id, attempt} where the stream no
-- longer has it (trimmed unread: it is lost, and Redis has dropped it from the pending entries).

local group, consumer, step = ARGV[1], ARGV[2], tonumber(ARGV[3])
local refused = refusal({'XPENDING', KEYS[1]}, {'XCLAIM', KEYS[1]}, {'XACK', KEYS[1]})
if refused then return refused end
local claimed = {}
for i = 4, #ARGV do
  local held = redis.call('XPENDING', KEYS[1], group, ARGV[i], ARGV[i], 1, consumer)[1]
  if held then
    local attempt = held[4] + step
    local entry = redis.call('XCLAIM', KEYS[1], group, consumer, 0, ARGV[i], 'RETRYCOUNT', attempt)[1]
    if entry and entry[2] then
      claimed[#claimed + 1] = {ARGV[i], attempt, entry[2]}
    else
      redis.call('XACK', KEYS[1], group, ARGV[i])
      claimed[#claimed + 1] = {ARGV[i], attempt}
    end
  end
end
return claimed
