#!lua flags=allow-oom
-- The ids from the newest on. ARGV: only ids before this one ('' for all), at most so many.

return open_ids().page(ARGV[1], tonumber(ARGV[2]))
