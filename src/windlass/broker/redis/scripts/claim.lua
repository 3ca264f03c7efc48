#!lua flags=allow-oom
-- Take ready jobs. ARGV: now, worker, channel to wake when there are none ('' for not), a channel that waits no longer when there are some
-- ('' for none), number of queues, the queues, then lane and room of each lane. Answers nothing, or now, the first token (each claim has the
-- next one), and for each claim: id, the job as it came, its former stand (nil when it was never moved). An answer without a claim means that
-- it is worth another look.

local now, worker, ear, queues = clock(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[5])
local lease = call('ZSCORE', root .. 'leases', worker)
if not lease then
  lease = call('ZSCORE', root .. 'resting', worker)
  if lease and tonumber(lease) > now then -- the clock was set back
    call('ZADD', root .. 'leases', lease, worker)
    call('ZREM', root .. 'resting', worker)
  end
end
if not lease or tonumber(lease) <= now then
  if ear ~= '' then call('ZADD', root .. 'idle:\0' .. worker, 'NX', now, ear) end -- its next beat wakes it
  return {}
end

local lanes, free = {}, 0
for i = 6 + queues, #ARGV, 2 do
  local room = tonumber(ARGV[i + 1])
  if room > 0 then
    lanes[#lanes + 1] = {name = ARGV[i], room = room}
    free = free + room
  end
end
local expiring = call('ZCARD', root .. 'expiring') > 0

-- At most `room` of a line, appended to `found` as {score, id, line}; answers how many.
local function take(line, room, found)
  local taken = 0
  while taken < room do
    local asked = room - taken
    local popped = call('ZPOPMIN', root .. 'ready:' .. line, asked)
    for i = 1, #popped, 2 do
      local expiry = expiring and call('ZSCORE', root .. 'expiring', popped[i])
      if not (expiry and tonumber(expiry) <= now) then -- else `promote` will cancel it
        found[#found + 1] = {tonumber(popped[i + 1]), popped[i], line}
        taken = taken + 1
      end
    end
    if #popped < asked * 2 then break end
  end
  return taken
end

local all, ids = {}, {}
for q = 6, 5 + queues do
  local queue, found = ARGV[q], {}
  if free > 0 and call('SISMEMBER', root .. 'paused', queue) == 0 then
    for _, lane in ipairs(lanes) do
      if lane.room > 0 then
        local taken = take(queue .. '\0' .. lane.name, lane.room, found)
        lane.room, free = lane.room - taken, free - taken
      end
    end
  end
  if #lanes > 1 then table.sort(found, function(a, b) return a[1] < b[1] end) end
  for _, one in ipairs(found) do
    local n = #ids + 1
    all[n], ids[n] = one, one[2]
  end
end

local function for_each_line(what)
  for q = 6, 5 + queues do
    for _, lane in ipairs(lanes) do what(root .. 'idle:' .. ARGV[q] .. '\0' .. lane.name) end
  end
end

if #ids == 0 then
  if ear ~= '' then for_each_line(function(idle) call('ZADD', idle, 'NX', now, ear) end) end
  return {}
end

-- Put those from this one on back into their lines.
local function back(from)
  for i = from, #all do call('ZADD', root .. 'ready:' .. all[i][3], string.format('%.0f', all[i][1]), ids[i]) end
end

-- Those with limits start.
local function start(claimed)
  local gates, limited, terms = nil, {}, values(root .. 'terms', claimed)
  for i, id in ipairs(claimed) do
    gates = gates or terms[i] and open_gates()
    local uses = gates and gates.uses_in(terms[i])
    if uses then limited[#limited + 1] = {id = id, uses = uses} end
  end
  if #limited > 0 then
    gates.start(limited, now)
    gates.save()
  end
end

local function hand_out()
  local made, stands, holder = values_that_fit(root .. 'jobs', ids), values(root .. 'states', ids), call('HGET', root .. 'numbers', worker)
  if not holder then -- somebody deleted it; the next beat gives it another one
    back(1)
    if ear ~= '' then call('ZADD', root .. 'idle:\0' .. worker, 'NX', now, ear) end
    return {}
  end
  -- Larger than any token before, also when the store has forgotten its latest ones (a failover): not behind the clock.
  local time = call('TIME')
  local token = math.max(tonumber(call('GET', root .. 'token') or 0) + 1, time[1] * 1000000 + time[2])
  local first = cmsgpack.pack(1, 0, 0, now, worker, false) -- attempt, crashes, releases, started_at, worker, timeless
  local answer, moved, held, claimed, lines = {string.format('%.17g', now), string.format('%.0f', token)}, {}, {}, {}, {}
  local jobs, n = nil, 0
  for i, came in ipairs(made) do
    local id, stand, line = ids[i], stands[i], all[i][3]
    if not came then -- somebody deleted it
      count(line, READY, -1)
    else
      n = n + 1
      if not stand and find(came, HEAD) then
        moved[n * 2] = '\155\3' .. whole(token + n - 1) .. sub(came, 11, 20) .. sub(came, 2, 10) .. first
      else
        jobs = jobs or open_jobs()
        local job = jobs.load(id, READY, came, stand)
        job.state, job.token, job.attempt, job.started_at, job.worker = RUNNING, token + n - 1, job.attempt + 1, now, worker
        moved[n * 2] = jobs.stand_of(job)
      end
      claimed[n], moved[n * 2 - 1], held[n * 2 - 1], held[n * 2] = id, id, holder, id
      lines[line] = (lines[line] or 0) + 1
      answer[n * 3], answer[n * 3 + 1], answer[n * 3 + 2] = id, came, stand
    end
  end
  each('ZADD', root .. 'running', held)
  each('HSET', root .. 'states', moved)
  call('SET', root .. 'token', string.format('%.0f', token + n - 1))
  for line, many in pairs(lines) do
    count(line, READY, -many)
    count(line, RUNNING, many)
  end
  for line in pairs(lines) do
    if call('EXISTS', root .. 'due:' .. line, root .. 'clocks') > 0 then open_order().advance(line, all, #made) end
  end
  if expiring then each('ZREM', root .. 'expiring', claimed) end
  if ARGV[4] ~= '' then -- or it would be woken in the place of one that waits
    for_each_line(function(idle) call('ZREM', idle, ARGV[4]) end)
  end
  if call('EXISTS', root .. 'terms') == 1 then pcall(start, claimed) end
  tell('watched', claimed)
  back(#made + 1)
  return answer
end

local ok, answer = pcall(hand_out)
if ok then return answer end
back(1) -- a key is of another type
return type(answer) == 'table' and answer or redis.error_reply(answer)
