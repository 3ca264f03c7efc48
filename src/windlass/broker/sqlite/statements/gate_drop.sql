-- ?1: names
DELETE FROM gate WHERE name IN (SELECT value FROM json_each(?1))
