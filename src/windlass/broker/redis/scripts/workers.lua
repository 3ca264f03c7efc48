#!lua flags=no-writes
-- Who lives. ARGV: now. Answers for each worker: its id, its card, the end of its lease, how many jobs it holds, what is wished of it.

local answer = {}
local after = '(' .. string.format('%.17g', clock(ARGV[1]))
for _, list in ipairs({'leases', 'resting'}) do -- in the latter, when the clock was set back
  local alive = call('ZRANGEBYSCORE', root .. list, after, '+inf', 'WITHSCORES')
  for i = 1, #alive, 2 do
    local number = call('HGET', root .. 'numbers', alive[i])
    local n = #answer
    answer[n + 1], answer[n + 2], answer[n + 3] = alive[i], call('HGET', root .. 'cards', alive[i]), alive[i + 1]
    answer[n + 4] = number and call('ZCOUNT', root .. 'running', number, number) or 0
    answer[n + 5] = call('HGET', root .. 'wishes', alive[i]) or ''
  end
end
return answer
