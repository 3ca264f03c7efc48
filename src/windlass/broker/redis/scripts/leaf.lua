#!lua flags=no-writes
-- What is kept under a name. ARGV: shelf, name. Answers nil when there is nothing.

return call('HGET', root .. 'shelf:' .. ARGV[1], ARGV[2])
