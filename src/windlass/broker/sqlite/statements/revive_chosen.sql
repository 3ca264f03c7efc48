-- ?1: job ids
SELECT place FROM job
WHERE id IN (SELECT value FROM json_each(?1)) AND state IN ('parked', 'scheduled', 'failed', 'cancelled')
