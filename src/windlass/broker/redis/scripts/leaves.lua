#!lua flags=no-writes
-- Names of a shelf. ARGV: shelf, the command for their order, from and to (as that command takes them), limit. Answers names and data in
-- turn; the first ones only when one answer cannot hold all.

local names = call(ARGV[2], root .. 'names:' .. ARGV[1], ARGV[3], ARGV[4], 'LIMIT', 0, tonumber(ARGV[5]))
local answer = {}
for i, data in ipairs(values_that_fit(root .. 'shelf:' .. ARGV[1], names)) do
  answer[i * 2 - 1], answer[i * 2] = names[i], data
end
return answer
