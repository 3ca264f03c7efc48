-- Where a job stands in its line: `local order = open_order()`. It says what core/order.py says.

local TURN, DEFAULT = 1 / 1024, 5
local plain = nil -- whether no job has terms, and no line groups

local function exact(number) return string.format('%.17g', number) end

-- Whose turn a job takes, and the weight of that group.
local function group_of(terms)
  local weight = tonumber(terms.weight) or 1
  if type(terms.group) ~= 'string' then return '', 1 end
  return terms.group, weight > 0 and weight or 1
end

-- The place of a job that ages among those of the default priority; nil of one that does not.
local function aged(job, terms)
  local ageing = tonumber(terms.ageing)
  if type(terms.group) == 'string' or not ageing or ageing ~= ageing or ageing == math.huge then return nil end
  return job.run_at + (DEFAULT - job.priority) * ageing
end

-- The score of a job that becomes ready.
local function enter(job)
  if plain == nil then plain = call('EXISTS', root .. 'terms', root .. 'clocks') == 0 end
  if plain then return score(job.priority, job.run_at) end
  local terms, field, due = terms_of(job.id), job.line .. '\0' .. job.priority, root .. 'due:' .. job.line
  local place = aged(job, terms)
  if place and call('HEXISTS', root .. 'clocks', job.line .. '\0' .. DEFAULT) == 0 then
    call('ZADD', due, exact(job.run_at), job.id)
    return score(DEFAULT, place)
  end
  local group, weight = group_of(terms)
  if group ~= '' then call('HSETNX', root .. 'clocks', field, exact(job.run_at)) end
  local clock = tonumber(call('HGET', root .. 'clocks', field) or nil)
  if not clock then return score(job.priority, job.run_at) end
  local turns = root .. 'turns:' .. field
  place = math.max(clock, tonumber(call('ZSCORE', turns, group) or 0)) + TURN / weight
  call('ZADD', turns, exact(place), group)
  call('ZADD', due, exact(job.run_at), job.id)
  return score(job.priority, place)
end

-- A job that was ready goes without having had its turn.
local function leave(job)
  call('ZREM', root .. 'due:' .. job.line, job.id)
  local field = job.line .. '\0' .. job.priority
  if call('HEXISTS', root .. 'clocks', field) == 0 then return end
  local group, weight = group_of(terms_of(job.id))
  if call('ZSCORE', root .. 'turns:' .. field, group) then call('ZINCRBY', root .. 'turns:' .. field, exact(-TURN / weight), group) end
end

-- The first `many` of these {score, id, line} were handed out; here for those of one line.
local function advance(line, taken, many)
  local places, ids = {}, {}
  for i = 1, many do
    local number, id, of = unpack(taken[i])
    if of == line then
      local above = floor(number / BAND)
      places[9 - above] = math.max(places[9 - above] or 0, (number - above * BAND + 1) / 50000)
      ids[#ids + 1] = id
    end
  end
  each('ZREM', root .. 'due:' .. line, ids)
  for priority, place in pairs(places) do
    local field = line .. '\0' .. priority
    local clock = tonumber(call('HGET', root .. 'clocks', field) or nil)
    if clock and place > clock then call('HSET', root .. 'clocks', field, exact(place)) end
  end
end

-- Forget the groups that have had all their turns, and the clocks that nobody needs any more.
local function prune(now)
  local clocks = call('HGETALL', root .. 'clocks')
  for i = 1, #clocks, 2 do
    local turns = root .. 'turns:' .. clocks[i]
    call('ZREMRANGEBYSCORE', turns, '-inf', exact(clocks[i + 1] + 0.00002)) -- what reckoning with fractions leaves
    if call('EXISTS', turns) == 0 and tonumber(clocks[i + 1]) <= now then call('HDEL', root .. 'clocks', clocks[i]) end
  end
end

return {asks = function() plain = false end, enter = enter, leave = leave, advance = advance, prune = prune}
