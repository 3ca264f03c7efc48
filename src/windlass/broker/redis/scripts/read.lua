#!lua flags=allow-oom
-- Read a journal. ARGV: id, after, channel to wake when there is nothing to tell ('' for not), the state and attempt seen ('' for any).
-- Answers nil for an unknown job; else state, attempt, last number, entries, and of a finished job all of `seen` (lib.lua).

local id, after, ear = ARGV[1], tonumber(ARGV[2]), ARGV[3]
if call('HEXISTS', root .. 'jobs', id) == 0 then return false end
local stand, state, attempt = call('HGET', root .. 'states', id), READY, 0
if stand then
  local _
  _, state, _, _, _, _, attempt = cmsgpack.unpack_limit(stand, 6, 1)
end
local last, entries = 0, {}
local numbers = call('HGET', root .. 'journals', id)
if numbers then
  last = cmsgpack.unpack(numbers)[1]
  if last > after then entries = call('ZRANGEBYSCORE', root .. 'log:' .. id, '(' .. after, '+inf') end
end
if state >= SUCCEEDED then
  local made, ended, progress = seen(id)
  return {state, attempt, last, entries, made, ended, progress}
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
