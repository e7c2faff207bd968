-- Stands before every script. Where the server refuses a command to the user of a script it ends the script, and what was
-- written until then stays: so each asks before its first write (0.1 to 0.5 µs for a command on a key). Rights don't change
-- while a script runs.

local function may(command, ...)
  local known, allowed = pcall(redis.acl_check_cmd, command, ...)
  return known and allowed -- what was renamed is not known
end

-- The error to answer with if one of these commands may not be run; each is a list that ends with its key.
local function refusal(...)
  for _, command in ipairs({...}) do
    if not may(unpack(command)) then
      local key = table.remove(command)
      return {err = 'NOPERM the Redis user has no permission to run ' .. table.concat(command, ' ') .. ' on ' .. key}
    end
  end
end

-- How long a stream is, and whether its ids are used up; nothing where that can't be told. XADD fails at the last id, which
-- may belong to no entry any more. So many are left while the second half has fewer digits that no call uses them up.
local function length_and_ids(key)
  local facts = may('XINFO', 'STREAM', key) and redis.pcall('XINFO', 'STREAM', key)
  if not facts or facts.err then return end
  local length, latest
  for i = 1, #facts, 2 do
    if facts[i] == 'length' then length = facts[i + 1] end
    if facts[i] == 'last-generated-id' then latest = facts[i + 1] end
  end
  return length, string.find(latest, '^18446744073709551615%-' .. string.rep('%d', 20))
end

