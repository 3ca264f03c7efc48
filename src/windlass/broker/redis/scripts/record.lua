#!lua
-- Take a writer's report. ARGV: now, writer, its number, the report (measures.py: Report, as msgpack).
-- Answers 1, or 0 when that number, or a later one, was taken already.

local now, writer = clock(ARGV[1]), ARGV[2]
if tonumber(ARGV[3]) <= (tonumber(call('HGET', root .. 'told', writer) or 0) or 0) then return 0 end
call('ZCARD', root .. 'writers') -- a key of another type ends this while nothing has happened
local report = cmsgpack.unpack(ARGV[4])
open_history()(now, report[1], report[2])
call('HSET', root .. 'told', writer, ARGV[3])
call('ZADD', root .. 'writers', string.format('%.17g', now), writer)
return 1
