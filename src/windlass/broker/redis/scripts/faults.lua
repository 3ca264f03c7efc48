#!lua flags=no-writes
-- Faults, the one seen latest first. ARGV: limit, when the last one of a listing was seen, and its fingerprint ('' at its beginning). Answers
-- for each: when it was seen, its fingerprint, the fault; of the first ones only when one answer cannot hold all.

local last, ids, times = tonumber(ARGV[2]), {}, {}
local found = call('ZREVRANGEBYSCORE', root .. 'sighted', ARGV[2], '-inf', 'WITHSCORES') -- no more than FAULTS
for i = 1, #found, 2 do
  if #ids >= tonumber(ARGV[1]) then break end
  if tonumber(found[i + 1]) < last or found[i] < ARGV[3] then
    ids[#ids + 1] = found[i]
    times[#ids] = found[i + 1]
  end
end
local answer = {}
for i, fault in ipairs(values_that_fit(root .. 'faults', ids)) do
  answer[i * 3 - 2], answer[i * 3 - 1], answer[i * 3] = times[i], ids[i], fault
end
return answer
