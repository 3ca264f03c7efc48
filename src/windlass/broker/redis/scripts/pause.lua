#!lua flags=allow-oom
-- Stop handing out a queue, or go on. ARGV: queue, "1" to pause and "0" to go on, now.

local jobs, now = open_jobs(), clock(ARGV[3])
jobs.hold(jobs.limits(now).pause(ARGV[1], ARGV[2] == '1', now), now, ARGV[1])
jobs.told()

if ARGV[2] == '1' then
  call('SADD', root .. 'paused', ARGV[1])
else
  call('SREM', root .. 'paused', ARGV[1])
  local counts = call('HGETALL', root .. 'counts')
  for i = 1, #counts, 2 do
    local queue, lane, state = string.match(counts[i], '^(.*)%z(.*)%z(.*)$')
    if queue == ARGV[1] and tonumber(state) == READY then wake(queue .. '\0' .. lane, tonumber(counts[i + 1])) end
  end
end
