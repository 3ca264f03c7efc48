#!lua flags=no-writes
-- How many jobs stand where. Answers two lists: "queue\0lane\0state" and its number in turn; the paused queues.

return {call('HGETALL', root .. 'counts'), call('SMEMBERS', root .. 'paused')}
