#!lua flags=no-writes
-- Look at jobs. ARGV: ids. Answers for each what `seen` (lib.lua) says, four in a row; only for the first of them when one answer cannot
-- hold all.

local answer, size = {}, 0
for i, id in ipairs(ARGV) do
  local made, stand, progress, cancelling = seen(id)
  answer[i * 4 - 3], answer[i * 4 - 2], answer[i * 4 - 1], answer[i * 4] = made, stand, progress, cancelling
  size = size + #(made or '') + #(stand or '') + #(progress or '')
  if size >= ANSWER then break end
end
return answer
