-- ?1: places
SELECT place, queue, lane, priority, terms FROM job WHERE place IN (SELECT value FROM json_each(?1))
