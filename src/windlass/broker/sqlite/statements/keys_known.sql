-- ?1: id, ?2: whether it replaces. The job of that id, or the one that became it.
SELECT id, state FROM job WHERE id = ?1
UNION ALL
SELECT id, state FROM job WHERE ?2 AND became = ?1 AND became IS NOT NULL
LIMIT 1
