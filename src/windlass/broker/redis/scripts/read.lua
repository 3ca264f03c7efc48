#!lua flags=allow-oom
-- Read a journal. ARGV: id, after, channel to wake when there is nothing to tell ('' for not), the state and attempt seen ('' for any).
-- Answers nil for an unknown job; else state, attempt, last number, entries, and of a finished job all of `seen` (lib.lua). When one answer
-- cannot hold all entries there is one thing more instead: the number after which to go on.

local id, after, ear = ARGV[1], tonumber(ARGV[2]), ARGV[3]
if call('HEXISTS', root .. 'jobs', id) == 0 then return false end
local stand, state, attempt = call('HGET', root .. 'states', id), READY, 0
if stand then
  local ok, _, found, _, _, _, _, spent = pcall(cmsgpack.unpack_limit, stand, 6, 1)
  if not (ok and type(found) == 'number' and type(spent) == 'number') then
    local job = open_jobs().load(id)
    found, spent = job.state, job.attempt
  end
  state, attempt = found, spent
end
local last, entries = 0, {}
local numbers = numbers_of(id)
if numbers then
  last = numbers[1]
  local from, size = after, 0
  while last > after do
    local some = call('ZRANGEBYSCORE', root .. 'log:' .. id, '(' .. from, '+inf', 'WITHSCORES', 'LIMIT', 0, 32)
    for i = 1, #some, 2 do
      entries[#entries + 1] = some[i]
      size = size + #some[i]
      if size >= ANSWER then return {state, attempt, last, entries, some[i + 1]} end
    end
    if #some < 64 then break end
    from = some[64]
  end
end
if state >= SUCCEEDED then
  return {state, attempt, last, entries, seen(id)}
end
if ear ~= '' and #entries == 0 and (ARGV[4] == '' or ARGV[4] == state .. ' ' .. attempt) then
  local who = root .. (ARGV[4] == '' and 'awaited' or 'watched')
  local ears = call('HGET', who, id)
  if not ears then
    call('HSET', who, id, ear)
  elseif not string.find(ears, ear, 1, true) then
    call('HSET', who, id, ears .. ' ' .. ear)
  end
end
return {state, attempt, last, entries}
