-- ?1: job ids
DELETE FROM entry WHERE job IN (SELECT value FROM json_each(?1))
