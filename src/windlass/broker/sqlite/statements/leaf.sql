-- ?1: shelf, ?2: name
SELECT data FROM leaf WHERE shelf = ?1 AND name = ?2
