#!lua
-- Make jobs ready again. ARGV: now, ids. Answers what became ready.

local jobs = open_jobs()
local now, chosen = clock(ARGV[1]), {}
for i = 2, #ARGV do chosen[i - 1] = ARGV[i] end

local function choose(part)
  local job = jobs.load(part)
  if job and (job.state == FAILED or job.state == CANCELLED) then chosen[#chosen + 1] = part end
end

local function revive(job)
  local state = job.state
  if state >= SUCCEEDED then -- its end had a number
    local numbers = numbers_of(job.id) or {0, 0, 0}
    numbers[1] = numbers[1] + 1
    call('HSET', root .. 'journals', job.id, cmsgpack.pack(numbers))
  end
  job.crashes, job.reason, job.timeless = 0, nil, true
  if job.started_at or jobs.lacking(job.id) <= 0 then return jobs.due(job, 0, now) end
  job.run_at = now
  jobs.move(job, WAITING, now)
  jobs.letters().each_part(job.id, jobs.parts_in(jobs.asked_of(job.id)), choose)
end

local at = 1
while at <= #chosen do
  local job = not jobs.arriving[chosen[at]] and jobs.load(chosen[at])
  local state = job and job.state
  local revivable = state == PARKED or state == SCHEDULED or state == FAILED or state == CANCELLED
  if revivable and job.key then
    local holder = call('HGET', root .. 'keys', job.key)
    local other = holder and holder ~= job.id and jobs.load(holder)
    local gone = jobs.keys.let_go(job)
    revivable = gone or not (other and jobs.keys.holds(other, now))
    if revivable and not gone then call('HSET', root .. 'keys', job.key, job.id) end
  end
  if revivable then revive(job) end
  at = at + 1
end
return jobs.told()
