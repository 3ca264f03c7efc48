-- ?1: shelf, ?2: how many are kept
DELETE FROM leaf WHERE shelf = ?1 AND name IN (SELECT name FROM leaf WHERE shelf = ?1 ORDER BY name DESC LIMIT -1 OFFSET ?2)
