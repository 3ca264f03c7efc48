SELECT id FROM job WHERE worker = ?1 AND cancelling = 1 ORDER BY id
