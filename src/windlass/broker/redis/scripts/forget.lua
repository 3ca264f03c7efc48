#!lua flags=allow-oom
-- Delete jobs that do not run. ARGV: now, ids. Answers those that were deleted.

local jobs = open_jobs()
local now, deleted = clock(ARGV[1]), {}
for i = 2, #ARGV do
  local id = ARGV[i]
  local job = jobs.load(id)
  if job and job.state ~= RUNNING then
    if job.state < SUCCEEDED then jobs.tell_of_end(id, job.task, jobs.asked_of(id), 'cancelled', '"forgotten"', now, job.started_at) end
    jobs.remove(job, now)
    deleted[#deleted + 1] = id
  end
end
jobs.told()
return deleted
