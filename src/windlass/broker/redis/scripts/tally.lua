#!lua flags=no-writes
-- How many jobs stand where. Answers three lists: "queue\0lane\0state" and its number in turn; the paused queues; "queue\0lane" of what is
-- ready and, in turn, the time of the job that is due for longest.

-- The first of each priority is its oldest, of those that stand by their due time; they are looked for among the first hundred, where others may
-- stand between them. The others have a list of their own.
local function oldest(line)
  local due = root .. 'due:' .. line
  local other = call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
  local found, from = tonumber(other or math.huge), '-inf'
  for _ = 0, 9 do
    local first = call('ZRANGEBYSCORE', root .. 'ready:' .. line, from, '+inf', 'WITHSCORES', 'LIMIT', 0, other and 100 or 1)
    if not first[2] then break end
    local band = floor(first[2] / BAND)
    for i = 1, #first, 2 do
      if floor(first[i + 1] / BAND) == band and not (other and call('ZSCORE', due, first[i])) then
        found = math.min(found, (first[i + 1] - band * BAND) / 50000)
        break
      end
    end
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
