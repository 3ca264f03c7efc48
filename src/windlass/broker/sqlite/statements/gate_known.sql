-- ?1: names
SELECT name, data FROM gate WHERE name IN (SELECT value FROM json_each(?1))
