-- ?1: job ids
SELECT place FROM job AS mine
WHERE id IN (SELECT value FROM json_each(?1)) AND state IN ('parked', 'scheduled', 'failed', 'cancelled')
AND NOT EXISTS (
    SELECT 1 FROM job AS other WHERE other.key = mine.key AND other.key IS NOT NULL AND other.finished_at IS NULL AND other.id <> mine.id
)
