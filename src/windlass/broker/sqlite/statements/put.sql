-- ?1: shelf, ?2: name, ?3: data
INSERT OR REPLACE INTO leaf (shelf, name, data) VALUES (?1, ?2, ?3)
