#!lua flags=allow-oom
-- Wish something of a worker. ARGV: now, worker, state, stacks (each '' for what was wished before). Answers 1, or 0 when it does not live.

local now, worker = clock(ARGV[1]), ARGV[2]
local lease = call('ZSCORE', root .. 'leases', worker) or call('ZSCORE', root .. 'resting', worker)
if not lease or tonumber(lease) <= now or call('ZSCORE', root .. 'gone', worker) then return 0 end
local state, stacks = string.match(call('HGET', root .. 'wishes', worker) or '', '^(%a*) (%S+)$')
if ARGV[3] ~= '' then state = ARGV[3] end
if ARGV[4] ~= '' then stacks = ARGV[4] end
call('HSET', root .. 'wishes', worker, (state or '') .. ' ' .. (stacks or 0))
return 1
