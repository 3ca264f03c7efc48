#!lua flags=allow-oom
-- Make ready what is due. ARGV: now, limit, channel to wake when something falls due earlier ('' for not).
-- Answers what became ready, and if there is nothing the seconds until something will be due ('' for never).

local jobs = open_jobs()
local now, limit = clock(ARGV[1]), tonumber(ARGV[2])
for _, id in ipairs(call('ZRANGEBYSCORE', root .. 'expiring', '-inf', now, 'LIMIT', 0, limit)) do
  local job = jobs.load(id)
  job.reason = 'expired'
  jobs.move(job, CANCELLED, now)
end
for _, id in ipairs(call('ZRANGEBYSCORE', root .. 'scheduled', '-inf', now, 'LIMIT', 0, limit)) do
  jobs.move(jobs.load(id), READY, now)
end

local ready, soon = jobs.told(), ''
if #ready == 0 then
  if ARGV[3] ~= '' then call('ZADD', root .. 'idle:\0due', 'NX', now, ARGV[3]) end
  for _, list in ipairs({'scheduled', 'expiring'}) do
    local first = call('ZRANGE', root .. list, 0, 0, 'WITHSCORES')
    if first[2] and (soon == '' or first[2] - now < soon) then soon = first[2] - now end
  end
end
return {ready, tostring(soon)}
