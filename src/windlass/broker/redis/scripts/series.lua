#!lua flags=no-writes
-- What happened in spans of one length. ARGV: step, since, until, how the combinations ("queue\0task\0outcome") begin that are wanted, and
-- what else is in them. Answers where to go on when one answer cannot hold all, else nil; then for each span: its beginning, and in turn
-- combinations and what is counted of them.

local answer, size = {false}, 0
for _, at in ipairs(call('ZRANGEBYSCORE', root .. 'spans:' .. ARGV[1], ARGV[2], '(' .. ARGV[3])) do
  if size >= ANSWER then
    answer[1] = at
    break
  end
  local span, chosen = call('HGETALL', root .. 'span:' .. ARGV[1] .. ':' .. at), {}
  for i = 1, #span, 2 do
    size = size + #span[i] + #span[i + 1] -- also of what is passed over, for that takes time, too
    if sub(span[i], 1, #ARGV[4]) == ARGV[4] and find(span[i], ARGV[5], 1, true) then
      local n = #chosen
      chosen[n + 1], chosen[n + 2] = span[i], span[i + 1]
    end
  end
  local n = #answer
  answer[n + 1], answer[n + 2] = at, chosen
end
return answer
