#!lua flags=allow-oom
-- Cancel jobs. ARGV: now, ids. Answers each job's state afterwards, -1 for an unknown one.

local jobs = open_jobs()
local now, states = clock(ARGV[1]), {}
for i = 2, #ARGV do
  local job = jobs.load(ARGV[i])
  if job and job.state == RUNNING then
    call('SADD', root .. 'cancelling', job.id)
    jobs.changed[#jobs.changed + 1] = job.id
  elseif job and job.state < SUCCEEDED then
    jobs.cancel(job, 'cancelled', now)
  end
  states[i - 1] = job and job.state or -1
end
jobs.told()
return states
