#!lua
-- Keep something under a name. ARGV: shelf, name, data, how many names are kept there ('' for all), the smallest going first.

local names, shelf = root .. 'names:' .. ARGV[1], root .. 'shelf:' .. ARGV[1]
call('ZADD', names, 0, ARGV[2])
call('HSET', shelf, ARGV[2], ARGV[3])
local over = ARGV[4] ~= '' and call('ZCARD', names) - ARGV[4] or 0
if over > 0 then
  for i, gone in ipairs(call('ZPOPMIN', names, over)) do
    if i % 2 == 1 then call('HDEL', shelf, gone) end
  end
end
