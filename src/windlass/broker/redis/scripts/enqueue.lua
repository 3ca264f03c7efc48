#!lua
-- Put jobs in. ARGV: now, all ids, joined, then in the order of the call, runs of plain jobs: line, priority, number, terms ('' for
-- none, else they only tell others), and as often: id, job;
-- and single jobs with a due time, an expiry, a key or terms: line, "", id, job, delay, at ('' for none), key ('' for none, else ":" and the
-- key), terms ('' for none).
-- Answers for each job that is not just ready now, four in a row: its place in the call (from 0), the id, the state, 1 if it was stored, 0
-- if that job was known already, and 2 if it became this one.

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
  local state = jobs and jobs.arriving[id] and WAITING or stand and byte(stand, 2) or READY
  tell_of(id, state <= CANCELLED and state or PARKED, 0)
  known = true
  return true
end

-- The job that has a key.
local function holder_of(key)
  local id = key ~= '' and call('HGET', root .. 'keys', sub(key, 2))
  jobs = id and (jobs or open_jobs()) or jobs
  local job = id and jobs.current(id)
  return job and jobs.keys.holds(job, now) and job or nil
end

-- The new job of this id meets one: with its id, which became it, or with its key. Answers whether it did.
local function met(id, made, delay, moment, key, terms)
  if call('HEXISTS', stored, id) == 1 then return is_known(id) end
  local asked = terms ~= '' and cmsgpack.unpack(terms) or {}
  local replaces = asked.replaces
  local same = replaces and call('HGET', root .. 'named', id)
  if same and call('HEXISTS', stored, same) == 1 then return is_known(same) end
  local job = holder_of(key)
  if not job then return false end
  local waits = job.state < RUNNING and not job.started_at and job.whole
  if not (replaces and waits and jobs.keys.alone(asked) and jobs.keys.alone(terms_of(job.id))) then return is_known(job.id) end
  local new = jobs.replace(job, id, made, terms, tonumber(delay), tonumber(moment) or now, now)
  tell_of(new.id, new.at and WAITING or new.state, 2)
  known = true
  return true
end

local function plain(line, priority, many, terms)
  local number_of, ready, asked, family = score(priority, now), {}, {}, {}
  local shared = call('HEXISTS', root .. 'clocks', line .. '\0' .. priority) == 1 and open_order()
  for i = at + 4, at + 2 + many * 2, 2 do
    local id = ARGV[i]
    if call('HSETNX', stored, id, head .. ARGV[i + 1]) == 1 then
      added[id] = true
      local n = #ready
      ready[n + 1] = shared and shared.enter({id = id, line = line, priority = priority, run_at = now}) or number_of
      ready[n + 2] = id
      if terms ~= '' then asked[n + 1], asked[n + 2], family[#family + 1] = id, terms, id end
    else
      is_known(id)
    end
    number = number + 1
  end
  if #asked > 0 then
    local root_id = cmsgpack.unpack(terms).root
    each('HSET', root .. 'terms', asked)
    if root_id then each('SADD', root .. 'family:' .. root_id, family) end
  end
  if #ready > 0 then
    each('ZADD', root .. 'ready:' .. line, ready)
    count(line, READY, #ready / 2)
    wake(line, #ready / 2)
  end
end

local function special(id, made, delay, moment, key, terms)
  if not met(id, made, delay, moment, key, terms) then
    added[id] = true
    call('HSET', stored, id, head .. made)
    jobs = jobs or open_jobs()
    if terms ~= '' then
      call('HSET', root .. 'terms', id, terms)
      jobs.asks()
    end
    if key ~= '' then
      call('HSET', root .. 'keyed', id, sub(key, 2))
      call('HSET', root .. 'keys', sub(key, 2), id)
      if terms ~= '' then jobs.keys.hold(id, now, terms_of(id)) end
    end
    local job, asked = jobs.load(id), terms ~= '' and cmsgpack.unpack(terms) or {}
    if asked.root then call('SADD', root .. 'family:' .. asked.root, id) end
    if job.expires then call('ZADD', root .. 'expiring', now + job.expires, id) end
    job.run_at = math.max(now, now + tonumber(delay), moment ~= '' and tonumber(moment) or now)
    jobs.come(job, asked.letters and asked.letters > 0 and WAITING or job.run_at > now and SCHEDULED or READY, now)
    if job.state ~= READY or job.at then tell_of(id, job.at and WAITING or job.state, 1) end
  end
  number = number + 1
end

local function all()
  while at < #ARGV do
    if ARGV[at + 1] ~= '' then
      local many = tonumber(ARGV[at + 2])
      plain(ARGV[at], tonumber(ARGV[at + 1]), many, ARGV[at + 3])
      at = at + 4 + many * 2
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
    for _, key in ipairs({'jobs', 'states', 'keyed', 'held', 'terms'}) do redis.pcall('HDEL', root .. key, id) end
  end
  return type(why) == 'table' and why or redis.error_reply(why)
end
if jobs then
  for i = 2, #answer, 4 do -- who waited may have passed
    if answer[i + 1] == WAITING then answer[i + 1] = byte(call('HGET', root .. 'states', answer[i]) or '', 2) or WAITING end
  end
end
return answer
