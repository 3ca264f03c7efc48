-- ?1: places
UPDATE job SET cancelling = 1 WHERE place IN (SELECT value FROM json_each(?1))
