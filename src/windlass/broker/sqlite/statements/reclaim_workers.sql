-- ?1: now, ?2: the ids of those that are meant; NULL: all. Workers that are not alive but hold jobs, the first known first.
SELECT id, card FROM worker
WHERE (until <= ?1 OR robbed) AND id IN (SELECT worker FROM job WHERE state = 'running')
  AND (?2 IS NULL OR id IN (SELECT value FROM json_each(?2)))
ORDER BY number
