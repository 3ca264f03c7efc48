#!lua flags=no-writes
-- All ids in some states, among others, unless they are too many. ARGV: how many are too many, states. Answers strings of 16 bytes for each
-- id, or nil when they are.

local places, many, answer = {}, 0, {}
for i = 2, #ARGV do
  local state = tonumber(ARGV[i])
  if state == READY then
    places[#places + 1] = 'expiring' -- a claim takes what is past its expiry out of its line
    for _, field in ipairs(call('HKEYS', root .. 'counts')) do
      local line = string.match(field, '^(.*)%z' .. READY .. '$')
      if line then places[#places + 1] = 'ready:' .. line end
    end
  elseif state >= SUCCEEDED then
    places[#places + 1] = 'ended:' .. state
  else
    places[#places + 1] = ({[SCHEDULED] = 'scheduled', [WAITING] = 'waiting', [RUNNING] = 'running', [PARKED] = 'parked'})[state]
  end
end
for _, place in ipairs(places) do many = many + call('ZCARD', root .. place) end
if many > tonumber(ARGV[1]) then return false end
for _, place in ipairs(places) do
  local ids = call('ZRANGE', root .. place, 0, -1)
  for i, id in ipairs(ids) do
    if #id ~= 16 then ids[i] = '' end -- somebody else's
  end
  answer[#answer + 1] = table.concat(ids)
end
return answer
