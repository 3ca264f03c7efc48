#!lua flags=no-writes
-- The ids from the newest on. ARGV: only ids before this one ('' for all), at most so many.

return call('ZREVRANGEBYLEX', root .. 'ids', ARGV[1] == '' and '+' or '(' .. ARGV[1], '-', 'LIMIT', 0, ARGV[2])
