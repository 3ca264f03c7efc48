-- ?1: now, ?2: limit
SELECT place FROM job WHERE state = 'scheduled' AND run_at <= ?1 ORDER BY run_at, place LIMIT ?2
