-- ?1: id
SELECT started_at IS NOT NULL, terms FROM job WHERE id = ?1
