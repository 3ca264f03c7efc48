-- ?1: now, ?2: limit
DELETE FROM gate WHERE name IN (SELECT name FROM gate WHERE idle <= ?1 LIMIT ?2)
