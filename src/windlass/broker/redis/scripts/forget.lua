#!lua flags=allow-oom
-- Delete jobs that do not run. ARGV: ids. Answers those that were deleted.

local jobs = open_jobs()
local deleted = {}
for _, id in ipairs(ARGV) do
  local job = jobs.load(id)
  if job and job.state ~= RUNNING then
    jobs.remove(job)
    deleted[#deleted + 1] = id
  end
end
jobs.told()
return deleted
