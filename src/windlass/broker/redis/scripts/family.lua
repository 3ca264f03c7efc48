#!lua flags=no-writes
-- All jobs of a workflow. ARGV: its id. Answers strings of 16 bytes for each id.

return {table.concat(call('SMEMBERS', root .. 'family:' .. ARGV[1]))}
