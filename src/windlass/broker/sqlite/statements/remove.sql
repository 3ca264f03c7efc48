-- ?1: shelf, ?2: name
DELETE FROM leaf WHERE shelf = ?1 AND name = ?2
