#!lua flags=allow-oom
-- Keep it no longer. ARGV: shelf, name. Answers 1 if it was there, else 0.

call('ZREM', root .. 'names:' .. ARGV[1], ARGV[2])
return call('HDEL', root .. 'shelf:' .. ARGV[1], ARGV[2])
