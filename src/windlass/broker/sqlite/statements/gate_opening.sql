-- ?1: now, ?2: limit
SELECT name FROM gate WHERE opens <= ?1 ORDER BY opens, name LIMIT ?2
