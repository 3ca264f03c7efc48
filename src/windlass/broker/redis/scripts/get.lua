#!lua flags=no-writes
-- Look at jobs. ARGV: ids. Answers for each what `seen` (lib.lua) says, six in a row; only for the first of them when one answer cannot
-- hold all.

local answer, size = {}, 0
for i, id in ipairs(ARGV) do
  local made, stand, progress, cancelling, terms, letters = seen(id)
  for j, what in ipairs({made, stand, progress, cancelling, terms, letters}) do answer[i * 6 - 6 + j] = what end
  size = size + #(made or '') + #(stand or '') + #(progress or '')
  if size >= ANSWER then break end
end
return answer
