#!lua flags=no-writes
-- All ids in one state, among others, unless they are too many. ARGV: state, how many are too many. Answers nil when they are.

local state, places = tonumber(ARGV[1]), {}
if state == READY then
  places[1] = 'expiring' -- a claim takes what is past its expiry out of its line
  for _, field in ipairs(call('HKEYS', root .. 'counts')) do
    local line = string.match(field, '^(.*)%z' .. READY .. '$')
    if line then places[#places + 1] = 'ready:' .. line end
  end
elseif state >= SUCCEEDED then
  places[1] = 'ended:' .. state
else
  places[1] = ({[SCHEDULED] = 'scheduled', [RUNNING] = 'running', [PARKED] = 'parked'})[state]
end
local many, ids = 0, {}
for _, place in ipairs(places) do many = many + call('ZCARD', root .. place) end
if many > tonumber(ARGV[2]) then return false end
for _, place in ipairs(places) do
  for _, id in ipairs(call('ZRANGE', root .. place, 0, -1)) do ids[#ids + 1] = id end
end
return ids
