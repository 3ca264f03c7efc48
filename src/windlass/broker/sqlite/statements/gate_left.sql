-- ?1: places
UPDATE job SET gate = NULL WHERE place IN (SELECT value FROM json_each(?1))
