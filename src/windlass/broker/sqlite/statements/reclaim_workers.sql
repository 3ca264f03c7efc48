-- ?1: now. Workers that are not alive but hold jobs, the first known first.
SELECT id, card FROM worker
WHERE (until <= ?1 OR robbed) AND id IN (SELECT worker FROM job WHERE state = 'running')
ORDER BY number
