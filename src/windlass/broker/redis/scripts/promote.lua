#!lua flags=allow-oom
-- Make due what is due. ARGV: now, limit. Answers what became ready.

local jobs = open()
local now, limit = clock(ARGV[1]), tonumber(ARGV[2])
for _, id in ipairs(call('ZRANGEBYSCORE', root .. 'expiring', '-inf', now, 'LIMIT', 0, limit)) do
  local job = jobs.load(id)
  job.reason = 'expired'
  jobs.move(job, CANCELLED, now)
end
for _, id in ipairs(call('ZRANGEBYSCORE', root .. 'scheduled', '-inf', now, 'LIMIT', 0, limit)) do
  jobs.move(jobs.load(id), READY, now)
end
return jobs.told()
