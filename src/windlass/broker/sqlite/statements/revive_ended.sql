-- ?1: places. The number that readers know a job's end by is not given again.
UPDATE job SET revived = 1 + max(revived, coalesce((SELECT max(seq) FROM entry WHERE job = id), 0))
WHERE place IN (SELECT value FROM json_each(?1)) AND finished_at IS NOT NULL
