#!lua flags=allow-oom
-- Forget what was kept long enough. ARGV: now, limit, seconds to remember a worker and a writer, then steps of the history, each with how long
-- its spans are kept. Answers how many jobs were deleted.

local jobs = open_jobs()
local now, left = clock(ARGV[1]), tonumber(ARGV[2])
for _, state in ipairs({SUCCEEDED, FAILED, CANCELLED}) do
  for _, job in ipairs(jobs.listed('ended:' .. state, state, '-inf', now, left)) do
    jobs.try(jobs.remove, job, now)
    left = left - 1
  end
end
local idle = call('ZRANGEBYSCORE', root .. 'idling', '-inf', now, 'LIMIT', 0, tonumber(ARGV[2]))
if #idle > 0 then jobs.limits(now).forget(idle, now) end
for _, list in ipairs({'leases', 'gone', 'resting'}) do
  for _, worker in ipairs(call('ZRANGEBYSCORE', root .. list, '-inf', now - tonumber(ARGV[3]))) do
    local number = call('HGET', root .. 'numbers', worker)
    if not number or call('ZCOUNT', root .. 'running', number, number) == 0 then
      call('ZREM', root .. list, worker)
      if list ~= 'leases' or not call('ZSCORE', root .. 'gone', worker) then
        for _, what in ipairs({'cards', 'words', 'numbers', 'wishes'}) do call('HDEL', root .. what, worker) end
      end
    end
  end
end
for i = 4, #ARGV, 2 do
  local spans = root .. 'spans:' .. ARGV[i]
  for _, at in ipairs(call('ZRANGEBYSCORE', spans, '-inf', now - ARGV[i + 1] - ARGV[i], 'LIMIT', 0, tonumber(ARGV[2]))) do
    call('UNLINK', root .. 'span:' .. ARGV[i] .. ':' .. at)
    call('ZREM', spans, at)
  end
end
for _, writer in ipairs(call('ZRANGEBYSCORE', root .. 'writers', '-inf', now - tonumber(ARGV[3]))) do
  call('HDEL', root .. 'told', writer)
  call('ZREM', root .. 'writers', writer)
end
open_order().prune(now)
jobs.told()
return jobs.trouble() or tonumber(ARGV[2]) - left
