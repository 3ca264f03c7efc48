#!lua flags=allow-oom
-- End runs. ARGV: now, the limit of releases, number of lines, how many runs say something of their limits, and of each of them id,
-- fence and meters (as msgpack), then for each line: its name, number of successes, and as often:
-- id, fence, result. Then every other outcome: id, fence, kind, text, delay, crash (lib.lua: finish).
-- A fence is the part of a stand that holds its state and token: as long as it is the same, the claim lives.
-- Answers three lists: the successes that were not applied (their places, from 0), the same of the others, what became ready.

local now, limit, at, number = clock(ARGV[1]), tonumber(ARGV[2]), 5 + 3 * ARGV[4], 0
local done = double(now)
local refused, stale = {}, {}
local all, results, jobs, ready = {}, {}, nil, {}

-- What live runs say of their limits counts before their ends.
local function meter()
  for i = 5, at - 1, 3 do
    local stand = call('HGET', root .. 'states', ARGV[i])
    local job = stand and sub(stand, 2, 11) == ARGV[i + 1] and jobs.load(ARGV[i], RUNNING)
    if job and jobs.limited(job, now) then jobs.hold(jobs.limits(now).meter(job.uses, cmsgpack.unpack(ARGV[i + 2]), now), now) end
  end
end

-- These have succeeded, and give back what they held.
local function leave(limited)
  local gates, names = jobs.limits(now), {}
  for _, job in ipairs(limited) do
    for _, use in ipairs(job.uses) do names[#names + 1] = use.name end
  end
  gates.ask(names)
  for _, job in ipairs(limited) do gates.leave(job, RUNNING, true, now) end
end

if at > 5 then
  jobs = open_jobs()
  jobs.try(meter)
end

for _ = 1, tonumber(ARGV[3]) do
  local line, many = ARGV[at], tonumber(ARGV[at + 1])
  local ids = {}
  at = at + 2
  for i = 1, many do ids[i] = ARGV[at + i * 3 - 3] end
  local stands = values(root .. 'states', ids)
  local applied, moved, ended, forget_at = {}, {}, {}, {}
  for i, id in ipairs(ids) do
    local stand = stands[i]
    if stand and sub(stand, 2, 11) == ARGV[at + 1] then
      local base = byte(stand) == 155 and sub(stand, 3) or sub(stand, 3, (cmsgpack.unpack_limit(stand, 11, 1)))
      local keep = sub(stand, 13, 16)
      if not forget_at[keep] then
        local seconds = struct.unpack('>f', keep)
        forget_at[keep] = string.format('%.17g', now + (seconds == seconds and seconds or 0))
      end
      local n = #applied + 1
      applied[n], all[#all + 1], results[#all + 1] = id, id, at + 2
      moved[n * 2 - 1], moved[n * 2] = id, '\157\5' .. base .. done .. ARGV[at + 2]
      ended[n * 2 - 1], ended[n * 2] = forget_at[keep], id
    else
      refused[#refused + 1] = number
    end
    at, number = at + 3, number + 1
  end
  if #applied > 0 then
    each('HSET', root .. 'states', moved)
    each('ZREM', root .. 'running', applied)
    each('ZADD', root .. 'ended:' .. SUCCEEDED, ended)
    count(line, RUNNING, -#applied)
    count(line, SUCCEEDED, #applied)
  end
end

if #all > 0 then
  if call('SCARD', root .. 'cancelling') > 0 then each('SREM', root .. 'cancelling', all) end
  if call('HLEN', root .. 'keyed') > 0 then
    local keyed, keys = values(root .. 'keyed', all), open_keys()
    for i, id in ipairs(all) do
      if keyed[i] then
        keys.free({id = id, key = keyed[i]}, now)
        local held = keys.held_until(id)
        if held > now then call('ZADD', root .. 'ended:' .. SUCCEEDED, 'GT', held, id) end
      end
    end
  end
  if call('HLEN', root .. 'terms') > 0 then
    local terms, asked, limited, telling, tellers = values(root .. 'terms', all), {}, {}, {}, {}
    for i, id in ipairs(all) do
      local stored = terms[i]
      if stored then
        jobs = jobs or open_jobs()
        asked[stored] = asked[stored] or jobs.read_terms(stored)
        if asked[stored].to then
          telling[#telling + 1], tellers[#tellers + 1] = id, i
        end
        local uses = asked[stored].uses and jobs.limits(now).uses_of(asked[stored])
        if uses then limited[#limited + 1] = {id = id, uses = uses} end
      end
    end
    for i, made in ipairs(values(root .. 'jobs', telling)) do
      local place = tellers[i]
      jobs.succeeded(telling[i], made, asked[terms[place]], ARGV[results[place]], now)
    end
    if #limited > 0 then jobs.try(leave, limited) end
  end
  tell('watched', all)
  tell('awaited', all)
end

number = 0
for i = at, #ARGV, 6 do
  local stand = call('HGET', root .. 'states', ARGV[i])
  if stand and sub(stand, 2, 11) == ARGV[i + 1] then
    local kind = ARGV[i + 2]
    jobs = jobs or open_jobs()
    local job = jobs.load(ARGV[i], RUNNING)
    if job then jobs.try(jobs.finish, job, kind, ARGV[i + 3], kind == 'L' and limit or tonumber(ARGV[i + 4]), ARGV[i + 5], now) end
  else
    stale[#stale + 1] = number
  end
  number = number + 1
end
if jobs then ready = jobs.told() end
return jobs and jobs.trouble() or {refused, stale, ready}
