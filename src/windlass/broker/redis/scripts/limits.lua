#!lua flags=no-writes
-- Look at limits. ARGV: now, how many, the name to go on after, and names, if only these are wanted. Answers now, and each name with what is
-- stored of it ('' for nothing).

local names, answer = {}, {string.format('%.17g', clock(ARGV[1]))}
if #ARGV > 3 then
  for i = 4, #ARGV do names[i - 3] = ARGV[i] end
else
  names = call('ZRANGEBYLEX', root .. 'gate_names', '(' .. ARGV[3], '+', 'LIMIT', 0, tonumber(ARGV[2]))
end
for i, data in ipairs(values(root .. 'gates', names)) do answer[i * 2], answer[i * 2 + 1] = names[i], data or '' end
return answer
