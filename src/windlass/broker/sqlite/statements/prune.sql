-- ?1: now, ?2: limit
SELECT place FROM job WHERE prune_at <= ?1 ORDER BY prune_at, place LIMIT ?2
