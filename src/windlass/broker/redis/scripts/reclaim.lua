#!lua flags=allow-oom
-- Take back what dead workers hold. ARGV: now, limit. Answers what became ready.
-- The error of a job that crashed too often is stored as its crashes, then the last words (records.py puts it into words).

local jobs = open_jobs()
local now, left = clock(ARGV[1]), tonumber(ARGV[2])

for _, worker in ipairs(call('ZRANGEBYSCORE', root .. 'leases', '-inf', now)) do
  local number = call('HGET', root .. 'numbers', worker)
  local held = call('ZRANGEBYSCORE', root .. 'running', number, number, 'LIMIT', 0, left + 1)
  local words = call('HGET', root .. 'words', worker)
  for i = 1, math.min(#held, left) do
    local job = jobs.load(held[i])
    local spent = job.crashes + 1 >= job.crash_limit and call('SISMEMBER', root .. 'cancelling', job.id) == 0
    if spent then
      jobs.finish(job, 'F', (job.crashes + 1) .. words, 0, 1, now)
    else
      jobs.finish(job, 'R', words, 0, 1, now)
    end
  end
  if #held > 0 then call('ZADD', root .. 'gone', call('ZSCORE', root .. 'leases', worker), worker) end
  if #held <= left then
    if #held == 0 and not call('ZSCORE', root .. 'gone', worker) then
      call('ZADD', root .. 'resting', call('ZSCORE', root .. 'leases', worker), worker)
    end
    call('ZREM', root .. 'leases', worker)
  end
  left = left - math.min(#held, left)
end
return jobs.told()
