-- What would be refused, of commands that are still to be run. ARGV: command (one word or more), key, and so on.
-- Answers "granted", "forbidden" or "out of entry ids" for each. The keys are touched only by XINFO.

local answers = {}
for i = 1, #ARGV, 2 do
  local words = {}
  for word in string.gmatch(ARGV[i], '%S+') do words[#words + 1] = word end
  words[#words + 1] = ARGV[i + 1]
  local answer = may(unpack(words)) and 'granted' or 'forbidden'
  if answer == 'granted' and ARGV[i] == 'XADD' then
    local _, used_up = length_and_ids(ARGV[i + 1])
    if used_up then answer = 'out of entry ids' end
  end
  answers[#answers + 1] = answer
end
return answers
