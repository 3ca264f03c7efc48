-- ?1: ids
SELECT id, state FROM job WHERE id IN (SELECT value FROM json_each(?1))
