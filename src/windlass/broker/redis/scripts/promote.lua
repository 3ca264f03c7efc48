#!lua flags=allow-oom
-- Make ready what is due. ARGV: now, limit, channel to wake when something falls due earlier ('' for not).
-- Answers what became ready, and if there is nothing the seconds until something will be due ('' for never).

local jobs = open_jobs()
local now, limit = clock(ARGV[1]), tonumber(ARGV[2])
for _, job in ipairs(jobs.listed('expiring', nil, '-inf', now, limit)) do
  jobs.try(jobs.cancel, job, 'expired', now)
end
jobs.ripen(jobs.listed('scheduled', SCHEDULED, '-inf', now, limit), now)
local opening = call('ZRANGEBYSCORE', root .. 'opening', '-inf', now, 'LIMIT', 0, limit)
for _, name in ipairs(opening) do jobs.limits(now).touch(name) end

local ready, soon = jobs.told(), ''
if jobs.trouble() then return jobs.trouble() end
if #ready == 0 then
  if ARGV[3] ~= '' then call('ZADD', root .. 'idle:\0due', 'NX', now, ARGV[3]) end
  for _, list in ipairs({'scheduled', 'expiring', 'opening'}) do
    local first = call('ZRANGE', root .. list, 0, 0, 'WITHSCORES')
    if first[2] and (soon == '' or first[2] - now < soon) then soon = first[2] - now end
  end
end
return {ready, tostring(soon)}
