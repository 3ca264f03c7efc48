-- One job at a time, with all that may have happened to it: `local jobs = open_jobs()` where lib.lua is not enough.

local function load(id)
  local made = call('HGET', root .. 'jobs', id)
  if not made then return nil end
  local job, _, at = {id = id, made = made}
  _, job.created, job.keep, job.keep_failed, job.crash_limit, job.priority, job.line, _, job.key, job.expires =
    cmsgpack.unpack_limit(made, 9, 1)
  job.line = job.line or 'default\0loop'
  job.queue = string.match(job.line, '^[^%z]*')
  local stand = call('HGET', root .. 'states', id)
  if not stand then
    job.state, job.token, job.run_at, job.attempt, job.crashes, job.releases = READY, 0, job.created, 0, 0, 0
    job.timeless = false
    return job
  end
  at, job.state, job.token, _, _, job.run_at, job.attempt, job.crashes, job.releases, job.started_at, job.worker, job.timeless =
    cmsgpack.unpack_limit(stand, 11, 1)
  if byte(stand) == 159 then
    _, job.finished_at, _, job.error, job.reason = cmsgpack.unpack_limit(stand, 4, at)
  end
  return job
end

-- The record of where a job stands. Its result is appended by `settle` alone, and never read here.
local function stand_of(job)
  local stand = char(job.state) .. whole(job.token) .. sub(job.made, 11, 20) .. double(job.run_at)
    .. cmsgpack.pack(job.attempt, job.crashes, job.releases, job.started_at, job.worker, job.timeless)
  if not (job.finished_at or job.error or job.reason) then return '\155' .. stand end
  return '\159' .. stand .. cmsgpack.pack(job.finished_at, nil, job.error, job.reason)
end

local function place_of(job)
  if job.state == READY then return 'ready:' .. job.line, score(job.priority, job.run_at) end
  if job.state == SCHEDULED then return 'scheduled', job.run_at end
  if job.state == RUNNING then return 'running' end
  if job.state == PARKED then return 'parked', job.run_at end
  return 'ended:' .. job.state, (job.finished_at or 0) + (job.state == FAILED and job.keep_failed or job.keep)
end

local changed, became_ready, removed = {}, {}, {}

local function leave(job)
  count(job.line, job.state, -1)
  call('ZREM', root .. place_of(job), job.id)
  if job.state == RUNNING then call('SREM', root .. 'cancelling', job.id) end
  if job.key and call('HGET', root .. 'keys', job.key) == job.id then call('HDEL', root .. 'keys', job.key) end
end

local function enter(job, state, now)
  job.state = state
  job.finished_at = state >= SUCCEEDED and now or nil
  count(job.line, state, 1)
  if job.key and state < SUCCEEDED then call('HSET', root .. 'keys', job.key, job.id) end
  if job.expires and (state >= SUCCEEDED or job.timeless) then call('ZREM', root .. 'expiring', job.id) end
  local place, order = place_of(job)
  call('ZADD', root .. place, order, job.id)
  call('HSET', root .. 'states', job.id, stand_of(job))
  changed[#changed + 1] = job.id
  if state == READY then became_ready[#became_ready + 1] = job end
  if state == SCHEDULED and call('ZRANGE', root .. place, 0, 0)[1] == job.id then wake('\0due', MANY) end
end

local function move(job, state, now)
  leave(job)
  enter(job, state, now)
end

-- Make a job ready, or scheduled when there is a delay.
local function due(job, delay, now)
  leave(job)
  job.run_at = now + delay
  enter(job, delay > 0 and SCHEDULED or READY, now)
end

local function remove(job)
  leave(job)
  for _, key in ipairs({'jobs', 'states', 'keyed'}) do call('HDEL', root .. key, job.id) end
  removed[#removed + 1] = job.id
  if job.expires then call('ZREM', root .. 'expiring', job.id) end
  if call('HDEL', root .. 'journals', job.id) == 1 then call('DEL', root .. 'log:' .. job.id) end
  changed[#changed + 1] = job.id
end

-- Tell everybody what moved; answers what became ready: id and queue in turn.
local function told()
  if #removed > 0 then open_ids().remove(removed) end
  tell('watched', changed)
  tell('awaited', changed)
  local lines, answer = {}, {}
  for i, job in ipairs(became_ready) do
    answer[i * 2 - 1], answer[i * 2] = job.id, job.queue
    lines[job.line] = (lines[job.line] or 0) + 1
  end
  for line, many in pairs(lines) do wake(line, many) end
  return answer
end

-- How a run ended that did not succeed: "F" failed, "C" cancelled, "R" retried, "Z" snoozed, "L" released, "P" parked.
local function finish(job, kind, text, delay, crash, now)
  if call('SISMEMBER', root .. 'cancelling', job.id) == 1 and kind ~= 'F' and kind ~= 'C' then
    kind, text = 'C', 'cancelled while running'
  end
  if kind == 'F' or kind == 'R' then
    job.error, job.attempt, job.crashes = text, job.attempt - crash, job.crashes + crash
    if kind == 'R' then return due(job, delay, now) end
    return move(job, FAILED, now)
  elseif kind == 'C' then
    job.reason = text
    return move(job, CANCELLED, now)
  elseif kind == 'L' then
    job.releases = job.releases + 1
    if job.releases <= delay then job.attempt = job.attempt - 1 end -- delay: the limit of releases
    return due(job, 0, now)
  end
  job.attempt = job.attempt - 1
  if kind == 'Z' then return due(job, delay, now) end
  job.reason = text
  move(job, PARKED, now)
end

return {
  load = load, stand_of = stand_of, enter = enter, move = move, due = due, remove = remove, finish = finish, told = told,
  changed = changed,
}
