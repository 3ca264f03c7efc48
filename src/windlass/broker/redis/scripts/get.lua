#!lua flags=no-writes
-- Look at jobs. ARGV: ids. Answers for each what `seen` (lib.lua) says, four in a row.

local answer = {}
for i, id in ipairs(ARGV) do
  answer[i * 4 - 3], answer[i * 4 - 2], answer[i * 4 - 1], answer[i * 4] = seen(id)
end
return answer
