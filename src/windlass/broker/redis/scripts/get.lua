#!lua flags=no-writes
-- Look at jobs. ARGV: ids. Answers for each what `seen` (lib.lua) says, five in a row; only for the first of them when one answer cannot
-- hold all.

local answer, size = {}, 0
for i, id in ipairs(ARGV) do
  local made, stand, progress, cancelling, terms = seen(id)
  answer[i * 5 - 4], answer[i * 5 - 3], answer[i * 5 - 2], answer[i * 5 - 1], answer[i * 5] = made, stand, progress, cancelling, terms
  size = size + #(made or '') + #(stand or '') + #(progress or '')
  if size >= ANSWER then break end
end
return answer
