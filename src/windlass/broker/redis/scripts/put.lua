#!lua
-- Keep something under a name. ARGV: shelf, name, data.

call('ZADD', root .. 'names:' .. ARGV[1], 0, ARGV[2])
call('HSET', root .. 'shelf:' .. ARGV[1], ARGV[2], ARGV[3])
