#!lua flags=allow-oom
-- Take back what dead workers hold. ARGV: now, limit, the limit of releases, gap, grace ('' twice, and the workers that are meant: only
-- from these). Answers what became ready.
-- The error of a job that crashed too often is stored as its crashes, then the last words (records.py puts it into words).

local jobs = open_jobs()
local now, left = clock(ARGV[1]), tonumber(ARGV[2])
local UNSAID = '{"kind":"crash","type":"WorkerLost","message":"the worker stopped beating"}' -- somebody deleted its words

local lapsed = call('ZRANGEBYSCORE', root .. 'leases', '-inf', now)
if ARGV[4] ~= '' then
  local looked, trusted = unpack(call('HMGET', root .. 'look', 'looked', 'trusted'))
  looked, trusted = tonumber(looked), tonumber(trusted)
  if not (looked and trusted and looked <= now and now < looked + tonumber(ARGV[4])) then trusted = now + tonumber(ARGV[5]) end
  call('HSET', root .. 'look', 'looked', string.format('%.17g', now), 'trusted', string.format('%.17g', trusted))
  if now < trusted then return {} end
else
  local meant, all = {}, lapsed
  for i = 6, #ARGV do meant[ARGV[i]] = true end
  lapsed = {}
  for _, worker in ipairs(all) do if meant[worker] then lapsed[#lapsed + 1] = worker end end
end

-- Take one job back. error, message: those of the worker's last words.
local function take_back(job, words, error, message)
  local crashes = job.crashes + 1
  if words == '' then
    jobs.finish(job, 'L', '', tonumber(ARGV[3]), '0', now)
    if job.state < SUCCEEDED then jobs.note(job, 'released', now) end
  elseif crashes >= job.crash_limit and call('SISMEMBER', root .. 'cancelling', job.id) == 0 then
    jobs.finish(job, 'F', crashes .. words, 0, '1', now)
    local died = 'quarantined: its process died ' .. crashes .. (crashes == 1 and ' time' or ' times') -- outcome.py: quarantined
    jobs.note(job, 'failed', now, 'Quarantined', died .. '; the last time: ' .. message)
  else
    jobs.finish(job, 'R', words, 0, '1', now)
    if job.state < SUCCEEDED then jobs.note(job, 'crashed', now, error, message) end
  end
end

for _, worker in ipairs(lapsed) do
  local number, words = call('HGET', root .. 'numbers', worker), call('HGET', root .. 'words', worker) or UNSAID
  local held = number and jobs.listed('running', RUNNING, number, number, left + 1) or {}
  local ok, said = pcall(cjson.decode, words)
  said = ok and type(said) == 'table' and said or {}
  local error, message = tostring(said.type or '?'), tostring(said.message or '')
  for i = 1, math.min(#held, left) do jobs.try(take_back, held[i], words, error, message) end
  if #held > 0 then call('ZADD', root .. 'gone', call('ZSCORE', root .. 'leases', worker), worker) end
  if #held <= left and not jobs.trouble() then
    if #held == 0 and not call('ZSCORE', root .. 'gone', worker) then
      call('ZADD', root .. 'resting', call('ZSCORE', root .. 'leases', worker), worker)
    end
    call('ZREM', root .. 'leases', worker)
  end
  left = left - math.min(#held, left)
end
local ready = jobs.told()
return jobs.trouble() or ready
