#!lua flags=allow-oom
-- Write a letter from outside. ARGV: now, id, name, letter. Answers 1 if the job takes letters, else 0.

local jobs = open_jobs()
local taken = jobs.letters().deliver(ARGV[2], ARGV[3], ARGV[4], clock(ARGV[1]))
jobs.told()
return taken
