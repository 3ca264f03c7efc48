#!lua flags=no-writes
-- How many jobs stand where. Answers three lists: "queue\0lane\0state" and its number in turn; the paused queues; "queue\0lane" of what is
-- ready and, in turn, the time of the job that is due for longest.

local BAND = 6e14 -- of the scores of one priority

-- The first of each priority is its oldest.
local function oldest(line)
  local found, from = math.huge, '-inf'
  for _ = 0, 9 do
    local first = call('ZRANGEBYSCORE', root .. 'ready:' .. line, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
    if not first then break end
    local band = floor(first / BAND)
    found = math.min(found, (first - band * BAND) / 50000)
    from = string.format('%.0f', (band + 1) * BAND)
  end
  return found < math.huge and string.format('%.5f', found)
end

local counts, ready = call('HGETALL', root .. 'counts'), {}
for i = 1, #counts, 2 do
  local line, state = counts[i]:match('^(.*)%z(%d)$')
  if tonumber(state) == READY and counts[i + 1] ~= '0' then
    local due = oldest(line)
    if due then
      ready[#ready + 1] = line
      ready[#ready + 1] = due
    end
  end
end
return {counts, call('SMEMBERS', root .. 'paused'), ready}
