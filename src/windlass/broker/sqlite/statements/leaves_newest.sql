-- ?1: shelf, ?2: the name to go on after, ?3: limit
SELECT name, data FROM leaf WHERE shelf = ?1 AND (?2 IS NULL OR name < ?2) ORDER BY name DESC LIMIT ?3
