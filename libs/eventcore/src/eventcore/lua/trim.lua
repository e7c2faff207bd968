-- Trims one stream, but never what a group has not finished with. KEYS: stream. ARGV: milliseconds for which finished
-- entries are kept, how many of them are kept at most.
-- Not by `XTRIM … ACKED`: few servers have it, and its approximate form trims nothing before Redis 8.2.7. It would also
-- take what is finished behind a pending entry; here that waits, not for long, until the entry comes to its end.
-- Answers {length afterwards, entries removed, name of the group that holds up trimming or '', id that it waits for}.

-- By their digits: Lua's numbers are exact up to 2^53 only, and an id may be any of 64 bits.
local function less(a, b)
  return #a < #b or (#a == #b and a < b)
end
local function before(a, b)
  local a_time, a_number = string.match(a, '(%d+)-(%d+)')
  local b_time, b_number = string.match(b, '(%d+)-(%d+)')
  return less(a_time, b_time) or (a_time == b_time and less(a_number, b_number))
end

local refused = refusal({'XLEN', KEYS[1]}, {'XINFO', 'GROUPS', KEYS[1]}, {'XPENDING', KEYS[1]}, {'XTRIM', KEYS[1]})
if refused then return refused end
local length = redis.call('XLEN', KEYS[1])
if length == 0 then return {0, 0, '', ''} end

-- The oldest entry that some group has not finished with; what stands before it is finished by all.
redis.setresp(3) -- in which XINFO answers maps
local unfinished, holder
for _, row in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = row.map
  local id = group['last-delivered-id']
  if group['pending'] > 0 then
    local oldest = redis.call('XPENDING', KEYS[1], group['name'])[2]
    if oldest and before(oldest, id) then id = oldest end
  end
  if not unfinished or before(id, unfinished) then unfinished, holder = id, group['name'] end
end
if not unfinished then return {length, 0, '', ''} end -- no group yet: everything is still to be read

local time = redis.call('TIME')
local oldest_kept = string.format('%.0f-0', math.max(0, time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1]))
local held_up = before(unfinished, oldest_kept)
local removed = redis.call('XTRIM', KEYS[1], 'MINID', '~', held_up and unfinished or oldest_kept)
local excess = length - removed - tonumber(ARGV[2])
if excess > 0 then
  removed = removed + redis.call('XTRIM', KEYS[1], 'MINID', '~', unfinished, 'LIMIT', excess)
end
return {length - removed, removed, held_up and holder or '', held_up and unfinished or ''}
