#!lua flags=no-writes
-- Is everything there? Answers how many jobs are counted, how many are stored, how many stand in a list, and how many of the others may have
-- been taken out of their line because they are past their expiry.

local counted, listed = 0, 0
local counts = call('HGETALL', root .. 'counts')
for i = 1, #counts, 2 do
  local line, state = string.match(counts[i], '^(.*)%z(%d+)$')
  counted = counted + (tonumber(counts[i + 1]) or 0)
  if tonumber(state) == READY then listed = listed + call('ZCARD', root .. 'ready:' .. line) end
end
for _, list in ipairs({'scheduled', 'waiting', 'running', 'parked', 'ended:5', 'ended:6', 'ended:7'}) do listed = listed + call('ZCARD', root .. list) end
return {counted, call('HLEN', root .. 'jobs'), listed, call('ZCOUNT', root .. 'expiring', '-inf', clock(''))}
