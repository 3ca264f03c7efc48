#!lua
-- Make jobs ready again. ARGV: now, ids. Answers what became ready.

local jobs = open_jobs()
local now = clock(ARGV[1])
for i = 2, #ARGV do
  local job = not jobs.arriving[ARGV[i]] and jobs.load(ARGV[i])
  local state = job and job.state
  local revivable = state == PARKED or state == SCHEDULED or state == FAILED or state == CANCELLED
  if revivable and job.key then
    local holder = call('HGET', root .. 'keys', job.key)
    local other = holder and holder ~= job.id and jobs.load(holder)
    local gone = jobs.keys.let_go(job)
    revivable = gone or not (other and jobs.keys.holds(other, now))
    if revivable and not gone then call('HSET', root .. 'keys', job.key, job.id) end
  end
  if revivable then
    if state >= SUCCEEDED then -- its end had a number
      local numbers = numbers_of(job.id) or {0, 0, 0}
      numbers[1] = numbers[1] + 1
      call('HSET', root .. 'journals', job.id, cmsgpack.pack(numbers))
    end
    job.crashes, job.reason, job.timeless = 0, nil, true
    if not job.started_at and jobs.lacking(job.id) > 0 then
      job.run_at = now
      jobs.move(job, WAITING, now)
    else
      jobs.due(job, 0, now)
    end
  end
end
return jobs.told()
