-- ?1: places
DELETE FROM job WHERE place IN (SELECT value FROM json_each(?1))
