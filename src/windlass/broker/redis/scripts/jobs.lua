-- One job at a time, with all that may have happened to it: `local jobs = open_jobs()` where lib.lua is not enough.
-- What somebody else wrote into the records of a job, or deleted, must not be in the way of the others.

local function check(sound)
  if not sound then error('a record that is none of ours') end
end

-- A job that was never moved. Ends with an error at what cannot be read.
local function read_made(id, made)
  local _, created, keep, keep_failed, crash_limit, priority, line, task, key, expires = cmsgpack.unpack_limit(made, 9, 1)
  local sum = created + keep + keep_failed + crash_limit + priority + (expires or 0) -- an error unless all are numbers
  line = line or 'default\0loop'
  local queue = string.match(line, '^(.*)%z')
  check(sum == sum and queue and find(made, HEAD) and type(task) == 'string' and (key == nil or type(key) == 'string'))
  return {
    id = id, made = made, whole = true, keeps = sub(made, 11, 20), created = created, keep = keep, keep_failed = keep_failed,
    crash_limit = crash_limit, priority = priority, line = line, queue = queue, task = task, key = key, expires = expires, state = READY,
    token = 0, run_at = created, attempt = 0, crashes = 0, releases = 0, started_at = nil, worker = nil, timeless = false,
    finished_at = nil, error = nil, reason = nil,
  }
end

-- The same of one whose record cannot be read: the plainest there is, kept for a week.
local function unreadable(id, made)
  return {
    id = id, made = made, keeps = '\202\73\19\168\0\202\73\19\168\0', created = 0, keep = 604800, keep_failed = 604800,
    crash_limit = 3, priority = 0, task = '?', key = call('HGET', root .. 'keyed', id) or nil, expires = 0, state = READY,
    token = 0, run_at = 0, attempt = 0, crashes = 0, releases = 0, timeless = false,
  }
end

-- Where the job stands. Ends with an error, and nothing is different then, at what cannot be read.
local function read_stand(job, stand)
  local at, state, token, _, _, run_at, attempt, crashes, releases, started_at, worker, timeless = cmsgpack.unpack_limit(stand, 11, 1)
  local sum = token + run_at + attempt + crashes + releases + (started_at or 0)
  check(sum == sum and floor(state) == state and state >= SCHEDULED and state <= CANCELLED)
  if byte(stand) == 159 then _, job.finished_at, _, job.error, job.reason = cmsgpack.unpack_limit(stand, 4, at) end
  job.state, job.token, job.run_at, job.attempt, job.crashes, job.releases = state, token, run_at, attempt, crashes, releases
  job.started_at, job.worker, job.timeless = started_at, worker, timeless
end

-- In which state a job is by the list that it stands in.
local function state_by_list(id)
  for state, list in pairs({
    [SCHEDULED] = 'scheduled', [WAITING] = 'waiting', [RUNNING] = 'running', [PARKED] = 'parked',
    [SUCCEEDED] = 'ended:5', [FAILED] = 'ended:6', [CANCELLED] = 'ended:7',
  }) do
    if call('ZSCORE', root .. list, id) then return state end
  end
  return READY
end

-- The line of a job in this state: of one that is ready its own, else one that has such jobs.
local function line_by_counts(id, state)
  local guess = 'default\0loop'
  for _, field in ipairs(call('HKEYS', root .. 'counts')) do
    local line, counted = string.match(field, '^(.*)%z(%d+)$')
    if tonumber(counted) == state then
      if state ~= READY then guess = line elseif call('ZSCORE', root .. 'ready:' .. line, id) then return line end
    end
  end
  return guess
end

-- The job; nil for an unknown one. A record that cannot be read counts as the plainest one. state: what the list says that it was found in.
-- made, stand: its records, if they were read.
local function load(id, state, made, stand)
  if made == nil then made, stand = call('HGET', root .. 'jobs', id), call('HGET', root .. 'states', id) end
  if not made then return nil end
  local ok, job = pcall(read_made, id, made)
  if not ok then job = unreadable(id, made) end
  if stand and not pcall(read_stand, job, stand) then job.state = state_by_list(id) end
  job.state = state or job.state
  if not ok then
    job.line = line_by_counts(id, job.state)
    job.queue = string.match(job.line, '^(.*)%z')
  end
  return job
end

-- The jobs of a list that is ordered by time (or by worker), from and to there, at most so many. What is no job any more leaves the list.
local function listed(list, state, from, to, many)
  local found, ids = {}, call('ZRANGEBYSCORE', root .. list, from, to, 'LIMIT', 0, many)
  local made, stands = values(root .. 'jobs', ids), values(root .. 'states', ids)
  for i, id in ipairs(ids) do
    local job = load(id, state, made[i], stands[i])
    if not job then
      call('ZREM', root .. list, id)
      for _, key in ipairs({'states', 'keyed', 'terms'}) do call('HDEL', root .. key, id) end
    end
    found[#found + 1] = job
  end
  return found
end

-- The record of where a job stands. Its result is appended by `settle` alone, and never read here.
local function stand_of(job)
  local stand = char(job.state) .. whole(job.token) .. job.keeps .. double(job.run_at)
    .. cmsgpack.pack(job.attempt, job.crashes, job.releases, job.started_at, job.worker, job.timeless)
  if not (job.finished_at or job.error or job.reason) then return '\155' .. stand end
  return '\159' .. stand .. cmsgpack.pack(job.finished_at, nil, job.error, job.reason)
end

local order, keys = open_order(), open_keys()

local asking = nil -- whether any job has terms

-- From here on one has.
local function asks()
  asking = true
  order.asks()
end

local function place_of(job)
  if job.state == READY then return 'ready:' .. job.line end
  if job.state == SCHEDULED then return 'scheduled', job.run_at end
  if job.state == WAITING then return 'waiting', job.run_at end
  if job.state == RUNNING then return 'running' end
  if job.state == PARKED then return 'parked', job.run_at end
  local kept = (job.finished_at or 0) + (job.state == FAILED and job.keep_failed or job.keep)
  return 'ended:' .. job.state, job.key and math.max(kept, keys.held_until(job.id)) or kept
end

local changed, became_ready, removed, trouble = {}, {}, {}, nil
local ended = {} -- who is to tell others of its end
local gates, gates_at = nil, nil -- limits, once one is met, and the time there

-- Terms that cannot be read ask for nothing.
local function read_terms(stored)
  local ok, terms = pcall(cmsgpack.unpack, stored)
  return ok and type(terms) == 'table' and terms or {}
end

-- What a job asks for beside its turn; nil for a plain one.
local function asked_of(id)
  if asking == nil then asking = call('HLEN', root .. 'terms') > 0 end
  local stored = asking and call('HGET', root .. 'terms', id)
  return stored and read_terms(stored) or nil
end

local function limits(now)
  gates, gates_at = gates or open_gates(load, asked_of), now
  return gates
end

-- Whether a job has limits; then `uses` says which.
local function limited(job, now)
  local terms = not job.uses and asked_of(job.id)
  if terms and terms.uses then job.uses = limits(now).uses_of(terms) end
  return job.uses ~= nil
end

-- How many letters a job lacks.
local function lacking(id)
  local terms = asked_of(id)
  if not terms then return 0 end
  return (tonumber(call('HGET', root .. 'awaits', id) or terms.letters) or 0) - call('HLEN', root .. 'mail:' .. id)
end

-- How many parts a job that was never started waits for.
local function parts_in(terms) return math.min(tonumber(terms.letters) or 0, PARTS) end

-- Remember that a job with terms has ended. said, data: what its letters tell, and what they carry (as msgpack's bytes, if it is a result).
-- started: whether it ever was; otherwise nobody waits for its parts any more.
local function tell_of_end(id, task, terms, said, data, now, started)
  local to = terms and type(terms.to) == 'table' and terms.to or {}
  local parts = terms and not started and parts_in(terms) or 0
  if #to > 0 or parts > 0 then
    ended[#ended + 1] = {id = id, task = task, to = to, said = said, data = data, at = now, parts = parts}
  end
end

-- Remember that a job which tells others of it has succeeded: as it came, and its result, as msgpack's bytes.
local function succeeded(id, made, terms, result, now)
  local ok, _, _, _, _, _, _, _, task = pcall(cmsgpack.unpack_limit, made, 7, 1)
  tell_of_end(id, ok and task or '?', terms, 'succeeded', result, now, true)
end

local function enter(job, state, now)
  job.state = state
  job.finished_at = state >= SUCCEEDED and now or nil
  local place, number = place_of(job)
  call('ZADD', root .. place, number or state == READY and order.enter(job), job.id)
  call('HSET', root .. 'states', job.id, stand_of(job))
  count(job.line, state, 1)
  if state >= SUCCEEDED then
    if job.key then keys.free(job, now) end
    local terms = asked_of(job.id)
    if terms and state == FAILED then
      tell_of_end(job.id, job.task, terms, 'failed', job.error, now, job.started_at)
    elseif terms and state == CANCELLED then
      tell_of_end(job.id, job.task, terms, 'cancelled', cjson.encode(job.reason or ''), now, job.started_at)
    end
  elseif job.key then
    call('HSETNX', root .. 'keys', job.key, job.id)
  end
  if job.expires and (state >= SUCCEEDED or job.timeless) then call('ZREM', root .. 'expiring', job.id) end
  changed[#changed + 1] = job.id
  if state == READY then became_ready[#became_ready + 1] = job end
  if state == SCHEDULED and call('ZRANGE', root .. place, 0, 0)[1] == job.id then wake('\0due', MANY) end
end

-- Write down that a job belongs to another queue.
local function change_queue(job, queue)
  if not job.whole then return end
  job.line = queue .. sub(job.line, #job.queue + 1)
  job.queue = queue
  local from, to = cmsgpack.unpack_limit(job.made, 5, 1), cmsgpack.unpack_limit(job.made, 6, 1)
  job.made = sub(job.made, 1, from) .. cmsgpack.pack(job.line) .. sub(job.made, to + 1)
  call('HSET', root .. 'jobs', job.id, job.made)
end

-- From where it stands to another state, and to another queue, if one is given. First it is there, then it is gone here: a key of another
-- type, which ends the script, loses no job.
local function shift(job, state, now, queue)
  local line, was, from = job.line, job.state, place_of(job)
  if was == READY and not job.left then order.leave(job) end
  job.left = nil
  if queue and queue ~= '' then change_queue(job, queue) end
  enter(job, state, now)
  count(line, was, -1)
  if place_of(job) ~= from then call('ZREM', root .. from, job.id) end
  if was == RUNNING then call('SREM', root .. 'cancelling', job.id) end
end

local arriving, arrivals = {}, {} -- jobs at their first gates, which stand where they stood until `told`, by id and in turn

local function arrive(job, now, bring)
  limits(now).arrive(job, now)
  arriving[job.id], arrivals[#arrivals + 1], job.bring = job, job, bring -- on, once it is known where to
end

-- The same; a job with limits gives back what it holds, and goes to its first gate when it would be ready.
local function move(job, state, now, queue)
  if not limited(job, now) then return shift(job, state, now, queue) end
  if arriving[job.id] then return end
  limits(now).leave(job, job.state, state >= SUCCEEDED or state == PARKED, now)
  if state ~= READY then return shift(job, state, now, queue) end
  if job.state == READY then
    order.leave(job)
    job.left = true
  end
  if queue and queue ~= '' then job.next_queue = queue end
  arrive(job, now, function(to) shift(job, to, now, queue) end)
end

-- A new job, in its first state; `after` that.
local function come(job, state, now, after)
  local function stand(at)
    enter(job, at, now)
    if after then after() end
  end
  if state ~= READY or not limited(job, now) then return stand(state) end
  limits(now).define(job, now)
  arrive(job, now, stand)
end

local written = {} -- of those the ones that were written down before, by id: the gates know these tables of them

-- A job as it stands; one that has come to a gate in this script is written down there first.
local function current(id)
  local job = arriving[id]
  if not job then return written[id] or load(id) end
  if job.bring then job.bring(WAITING) end
  job.bring, arriving[id], written[id] = nil, nil, job
  return job
end

-- Let a job that waits (as `current` has it) become another one, which came with this id: it keeps its own, and when it came.
local function replace(job, id, made, terms, delay, moment, now)
  local from, was, line, came = place_of(job), job.state, job.line, sub(job.made, 1, 10)
  if was == READY then order.leave(job) end
  if limited(job, now) then limits(now).leave(job, was, true, now) end
  written[job.id] = nil
  made = came .. made
  local read, to = cmsgpack.unpack_limit(made, 8, 1), cmsgpack.unpack_limit(made, 9, 1)
  local new = read_made(job.id, made)
  if new.expires then -- from now on
    new.expires = new.expires + now - new.created
    made = sub(made, 1, read) .. cmsgpack.pack(new.expires) .. sub(made, to + 1)
  end
  call('HSET', root .. 'jobs', job.id, made)
  call('HSET', root .. 'terms', job.id, terms)
  asks()
  terms = asked_of(job.id)
  keys.hold(job.id, new.created, terms)
  keys.became(job, id)
  if job.expires then call('ZREM', root .. 'expiring', job.id) end
  if new.expires then call('ZADD', root .. 'expiring', new.created + new.expires, job.id) end
  new.made = made
  new.run_at = math.max(now, now + delay, moment)
  new.run_at = math.min(new.run_at, math.max(now, new.created + (tonumber(terms.latest) or math.huge)))
  come(new, new.run_at > now and SCHEDULED or READY, now, function()
    count(line, was, -1)
    if place_of(new) ~= from then call('ZREM', root .. from, job.id) end
  end)
  return new
end

-- These passed gates and have not started: they go back; only those of one queue, if it is given.
local function hold(ids, now, queue)
  for _, id in ipairs(ids) do
    local job = load(id)
    if job and not arriving[id] and job.state == READY and job.queue == (queue or job.queue) then move(job, READY, now) end
  end
end

-- For the history: what became of a job for which no worker speaks. error, message: what it crashed of, if it did.
local rollups, sightings, noted_at = {}, {}, nil
local function note(job, outcome, now, error, message)
  local key = job.queue .. '\0' .. job.task .. '\0' .. outcome
  local rollup = rollups[key] or {job.queue, job.task, outcome, 0, {}, {}}
  if rollup[4] == 0 then rollups[key], rollups[#rollups + 1] = rollup, rollup end
  rollup[4], noted_at = rollup[4] + 1, now
  if error then
    local id = string.gsub(job.id, '.', function(one) return string.format('%02x', byte(one)) end)
    id = table.concat({sub(id, 1, 8), sub(id, 9, 12), sub(id, 13, 16), sub(id, 17, 20), sub(id, 21)}, '-')
    local fingerprint = sub(redis.sha1hex(job.task .. '\0' .. error .. '\0'), 1, 16) -- last words have no frame
    local final = outcome == 'failed' and 1 or 0
    if #message > 500 then message = string.gsub(sub(message, 1, 500), '[\192-\255]?[\128-\191]*$', '') end
    sightings[#sightings + 1] = {fingerprint, job.task, error, '', 1, final, id, message, ''}
  end
end

-- Cancel a job for which no worker speaks.
local function cancel(job, reason, now)
  job.reason = reason
  move(job, CANCELLED, now)
  note(job, 'cancelled', now)
end

-- Make a job ready, or scheduled when there is a delay; in another queue, if one is given.
local function due(job, delay, now, queue)
  job.run_at = now + delay
  move(job, delay > 0 and SCHEDULED or READY, now, queue)
end

-- Do something for one of several jobs; what goes wrong with it is told at the end, when it was done for the others.
local function try(what, ...)
  local ok, why = pcall(what, ...)
  if not ok then trouble = type(why) == 'table' and why or redis.error_reply(why) end
end

-- As `move` does, but many of one line at once.
local function ripen_line(line, some)
  local entries, stands, ids = {}, {}, {}
  for i, job in ipairs(some) do
    job.state, ids[i] = READY, job.id
    entries[i * 2 - 1], entries[i * 2] = order.enter(job), job.id
    stands[i * 2 - 1], stands[i * 2] = job.id, stand_of(job)
  end
  each('ZADD', root .. 'ready:' .. line, entries)
  each('HSET', root .. 'states', stands)
  each('ZREM', root .. 'scheduled', ids)
  count(line, READY, #ids)
  count(line, SCHEDULED, -#ids)
  for i, job in ipairs(some) do changed[#changed + 1], became_ready[#became_ready + 1] = ids[i], job end
end

-- These were scheduled, and are due, in this order.
local function ripen(found, now)
  local some = {}
  local function flush()
    if #some > 0 then try(ripen_line, some[1].line, some) end
    some = {}
  end
  for _, job in ipairs(found) do
    local plain = job.whole and not job.key and not job.expires and not limited(job, now)
    if not plain or some[1] and some[1].line ~= job.line then flush() end
    if plain then some[#some + 1] = job else try(move, job, READY, now) end
  end
  flush()
end

local function remove(job, now)
  if job.state == READY then order.leave(job) end
  if job.state < SUCCEEDED and limited(job, now) then limits(now).leave(job, job.state, true, now) end
  count(job.line, job.state, -1)
  call('ZREM', root .. place_of(job), job.id)
  if job.key then keys.free(job) end
  keys.became(job)
  for _, key in ipairs({'jobs', 'states', 'keyed', 'held'}) do call('HDEL', root .. key, job.id) end
  local terms = asked_of(job.id)
  if terms then
    call('DEL', root .. 'mail:' .. job.id)
    for _, key in ipairs({'terms', 'awaits'}) do call('HDEL', root .. key, job.id) end
    if terms.root then call('SREM', root .. 'family:' .. terms.root, job.id) end
  end
  removed[#removed + 1] = job.id
  if job.expires then call('ZREM', root .. 'expiring', job.id) end
  if call('HDEL', root .. 'journals', job.id) == 1 then call('DEL', root .. 'log:' .. job.id) end
  changed[#changed + 1] = job.id
end

-- Let pass whoever may.
local function pass_on()
  for _, job in ipairs(gates.pass_on(gates_at)) do
    if job.bring then job.bring(READY) else shift(job, READY, gates_at) end
  end
  for _, job in ipairs(arrivals) do if job.at and job.bring then job.bring(WAITING) end end
  gates.save()
end

local function letters()
  return open_letters(load, current, asked_of, move, cancel, due, note, changed, try)
end

-- What follows: first letters, then gates. Tell everybody what moved, and the history; answers what became ready: id and queue in turn.
local function told()
  if #ended > 0 then letters().send(ended) end
  if gates then try(pass_on) end
  if noted_at then pcall(open_history(), noted_at, rollups, sightings) end -- what is wrong with its keys, `record` tells
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

-- Wait until so many letters have come in all, and for `delay` seconds at most, if that is not negative.
local function suspend(job, letters, delay, now)
  if asked_of(job.id) then call('HSET', root .. 'awaits', job.id, letters) end
  local there = call('HLEN', root .. 'mail:' .. job.id) >= tonumber(letters)
  if there or delay >= 0 then return due(job, there and 0 or delay, now) end
  job.run_at = now
  move(job, WAITING, now)
end

-- How a run ended that did not succeed: "F" failed, "C" cancelled, "R" retried, "Z" snoozed, "W" suspended, "L" released, "P" parked.
-- crash: "1" if one is counted, else "0"; behind it the queue that a retried job moves to, if it does.
local function finish(job, kind, text, delay, crash, now)
  if call('SISMEMBER', root .. 'cancelling', job.id) == 1 and kind ~= 'F' and kind ~= 'C' then
    return cancel(job, 'cancelled while running', now)
  end
  if kind == 'F' or kind == 'R' then
    local crashed = sub(crash, 1, 1)
    job.error, job.attempt, job.crashes = text, job.attempt - crashed, job.crashes + crashed
    if kind == 'R' then return due(job, delay, now, sub(crash, 2)) end
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
  if kind == 'W' then return suspend(job, text, delay, now) end
  job.reason = text
  move(job, PARKED, now)
end

return {
  load = load, current = current, listed = listed, replace = replace, keys = keys, stand_of = stand_of, come = come, move = move, due = due, ripen = ripen,
  remove = remove, finish = finish, cancel = cancel, limited = limited, limits = limits, hold = hold, arriving = arriving, note = note, try = try,
  told = told, changed = changed, asked_of = asked_of, read_terms = read_terms, succeeded = succeeded, lacking = lacking,
  tell_of_end = tell_of_end, letters = letters, parts_in = parts_in, asks = asks, trouble = function() return trouble end,
}
