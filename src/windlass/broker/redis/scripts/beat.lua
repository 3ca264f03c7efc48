#!lua flags=allow-oom
-- Keep a worker alive. ARGV: now, worker, card, ttl, what is to be said of its jobs when it is dead ('' when they are blameless). Answers nil when it does not live
-- any more, else what is wished of it, and the ids to be cancelled.

local now, worker, ttl = clock(ARGV[1]), ARGV[2], tonumber(ARGV[4])
if call('ZSCORE', root .. 'gone', worker) then return false end
local known = call('HEXISTS', root .. 'numbers', worker) == 1
if not known then call('HSET', root .. 'numbers', worker, call('INCR', root .. 'worker_count')) end
call('HSET', root .. 'cards', worker, ARGV[3])
call('HSET', root .. 'words', worker, ARGV[5])
call('ZREM', root .. 'resting', worker)
local lease = call('ZSCORE', root .. 'leases', worker)
if not known or not lease or tonumber(lease) <= now then wake('\0' .. worker, 1) end -- a claim of it may wait
call('ZADD', root .. 'leases', now + ttl, worker)
local number, wanted = tonumber(call('HGET', root .. 'numbers', worker)), {call('HGET', root .. 'wishes', worker) or ''}
if call('SCARD', root .. 'cancelling') > 0 then
  for _, id in ipairs(call('SMEMBERS', root .. 'cancelling')) do
    if tonumber(call('ZSCORE', root .. 'running', id)) == number then wanted[#wanted + 1] = id end
  end
end
return wanted
