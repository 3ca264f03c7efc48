-- ?1: ids
SELECT id, queue, task FROM job WHERE id IN (SELECT value FROM json_each(?1))
