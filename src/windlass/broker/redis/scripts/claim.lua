#!lua flags=allow-oom
-- Take ready jobs. ARGV: now, worker, channel to wake when there are none ('' for not), a channel that waits no longer when there are some
-- ('' for none), number of queues, the queues, then lane and room of each lane. Answers nothing, or now, the first token (each claim has the next one), and
-- for each claim: id, the job as it came, its former stand ('' when it was never moved).

local now, worker, ear, queues = clock(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[5])
local lease = call('ZSCORE', root .. 'leases', worker)
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

-- At most `room` of a line, appended to `found` as {score, id}; answers how many.
local function take(line, room, found)
  local taken = 0
  while taken < room do
    local asked = room - taken
    local popped = call('ZPOPMIN', root .. 'ready:' .. line, asked)
    for i = 1, #popped, 2 do
      local expiry = expiring and call('ZSCORE', root .. 'expiring', popped[i])
      if not (expiry and tonumber(expiry) <= now) then -- else `promote` will cancel it
        found[#found + 1] = {tonumber(popped[i + 1]), popped[i]}
        taken = taken + 1
      end
    end
    if #popped < asked * 2 then break end
  end
  return taken
end

local ids, jobs = {}, nil
for q = 6, 5 + queues do
  local queue, found = ARGV[q], {}
  if free > 0 and call('SISMEMBER', root .. 'paused', queue) == 0 then
    for _, lane in ipairs(lanes) do
      if lane.room > 0 then
        local line = queue .. '\0' .. lane.name
        local taken = take(line, lane.room, found)
        if taken > 0 then
          lane.room, free = lane.room - taken, free - taken
          count(line, READY, -taken)
          count(line, RUNNING, taken)
        end
      end
    end
  end
  if #found > 0 then
    if #lanes > 1 then table.sort(found, function(a, b) return a[1] < b[1] end) end
    for _, one in ipairs(found) do ids[#ids + 1] = one[2] end
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
if ARGV[4] ~= '' then -- or it would be woken in the place of one that waits
  for_each_line(function(idle) call('ZREM', idle, ARGV[4]) end)
end

-- Larger than any token before, also when the store has forgotten its latest ones (a failover): not behind the clock.
local time = call('TIME')
local token = math.max(tonumber(call('GET', root .. 'token') or 0) + 1, time[1] * 1000000 + time[2])
call('SET', root .. 'token', string.format('%.0f', token + #ids - 1))

local all, stands = values(root .. 'jobs', ids), values(root .. 'states', ids)
local holder = call('HGET', root .. 'numbers', worker)
local first = cmsgpack.pack(1, 0, 0, now, worker, false) -- attempt, crashes, releases, started_at, worker, timeless
local answer, moved, held = {string.format('%.17g', now), string.format('%.0f', token)}, {}, {}
for i, id in ipairs(ids) do
  local made, stand = all[i], stands[i]
  if not stand then
    moved[i * 2] = '\155\3' .. whole(token + i - 1) .. sub(made, 11, 20) .. sub(made, 2, 10) .. first
  else
    jobs = jobs or open_jobs()
    local job = jobs.load(id)
    job.state, job.token, job.attempt, job.started_at, job.worker = RUNNING, token + i - 1, job.attempt + 1, now, worker
    moved[i * 2] = jobs.stand_of(job)
  end
  moved[i * 2 - 1] = id
  held[i * 2 - 1], held[i * 2] = holder, id
  local to = i * 3
  answer[to], answer[to + 1], answer[to + 2] = id, made, stand or ''
end
each('HSET', root .. 'states', moved)
each('ZADD', root .. 'running', held)
if expiring then each('ZREM', root .. 'expiring', ids) end
tell('watched', ids)
return answer
