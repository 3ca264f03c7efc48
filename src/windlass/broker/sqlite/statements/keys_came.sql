-- ?1: id
SELECT started_at IS NOT NULL FROM job WHERE id = ?1
