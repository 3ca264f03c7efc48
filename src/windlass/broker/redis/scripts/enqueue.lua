#!lua
-- Put jobs in. ARGV: now, all ids, joined, then in the order of the call, runs of plain jobs: line, priority, number, and as often: id, job;
-- and single jobs with a due time, an expiry, a key or terms: line, "", id, job, delay, at ('' for none), key ('' for none, else ":" and the
-- key), terms ('' for none).
-- Answers for each job that is not just ready now, four in a row: its place in the call (from 0), the id, the state, 1 if it was stored and
-- 0 if that job was known already.

local now, at, number, answer = clock(ARGV[1]), 3, 0, {}
local head = '\154' .. double(now) -- an array of ten, the first of it the time at which the job came
local stored, jobs = root .. 'jobs', nil
local added, known = {}, false -- the ids that this call stores; whether it met others

local function tell_of(id, state, stored)
  local n = #answer
  answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4] = number, id, state, stored
end

local function is_known(id)
  local stand = call('HGET', root .. 'states', id)
  local state = stand and byte(stand, 2) or jobs and jobs.arriving[id] and WAITING or READY
  tell_of(id, state <= CANCELLED and state or PARKED, 0)
  known = true
end

-- The unfinished job that has a key.
local function holder_of(key)
  local id = key ~= '' and call('HGET', root .. 'keys', sub(key, 2))
  if not id or call('HEXISTS', stored, id) == 0 then return nil end
  local stand = call('HGET', root .. 'states', id)
  return (stand and byte(stand, 2) or READY) < SUCCEEDED and id or nil
end

local function plain(line, priority, many)
  local order, ready = score(priority, now), {}
  for i = at + 3, at + 1 + many * 2, 2 do
    local id = ARGV[i]
    if call('HSETNX', stored, id, head .. ARGV[i + 1]) == 1 then
      added[id] = true
      local n = #ready
      ready[n + 1], ready[n + 2] = order, id
    else
      is_known(id)
    end
    number = number + 1
  end
  if #ready > 0 then
    each('ZADD', root .. 'ready:' .. line, ready)
    count(line, READY, #ready / 2)
    wake(line, #ready / 2)
  end
end

local function special(id, made, delay, moment, key, terms)
  local namesake = holder_of(key)
  if namesake and call('HEXISTS', stored, id) == 0 then
    is_known(namesake)
  elseif call('HSETNX', stored, id, head .. made) == 0 then
    is_known(id)
  else
    added[id] = true
    if key ~= '' then call('HSET', root .. 'keyed', id, sub(key, 2)) end
    if terms ~= '' then call('HSET', root .. 'terms', id, terms) end
    jobs = jobs or open_jobs()
    local job = jobs.load(id)
    if job.expires then call('ZADD', root .. 'expiring', now + job.expires, id) end
    job.run_at = math.max(now, now + tonumber(delay), moment ~= '' and tonumber(moment) or now)
    jobs.come(job, job.run_at > now and SCHEDULED or READY, now, terms ~= '')
    if job.state ~= READY or job.at then tell_of(id, job.at and WAITING or job.state, 1) end
  end
  number = number + 1
end

local function all()
  while at < #ARGV do
    if ARGV[at + 1] ~= '' then
      local many = tonumber(ARGV[at + 2])
      plain(ARGV[at], tonumber(ARGV[at + 1]), many)
      at = at + 3 + many * 2
    else
      special(unpack(ARGV, at + 2, at + 7))
      at = at + 8
    end
  end
  local ids = ARGV[2]
  if known then -- or an id stands there twice
    local fresh = {}
    for i = 1, #ids, 16 do
      local id = sub(ids, i, i + 15)
      if added[id] then fresh[#fresh + 1] = id end
    end
    ids = table.concat(fresh)
  end
  if ids ~= '' and call('APPEND', root .. 'ids:new', ids) >= RUN then open_ids().sort_new() end
end

local ok, why = pcall(all)
if ok and jobs then
  jobs.told()
  ok, why = not jobs.trouble(), jobs.trouble()
end
if not ok then -- a key is of another type: none of these is a job; who meets in a list what is left of them will see that
  for id in pairs(added) do
    for _, key in ipairs({'jobs', 'states', 'keyed', 'terms'}) do redis.pcall('HDEL', root .. key, id) end
  end
  return type(why) == 'table' and why or redis.error_reply(why)
end
if jobs then
  for i = 2, #answer, 4 do -- who waited may have passed
    if answer[i + 1] == WAITING then answer[i + 1] = byte(call('HGET', root .. 'states', answer[i]) or '', 2) or WAITING end
  end
end
return answer
