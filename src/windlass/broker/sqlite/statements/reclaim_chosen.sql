-- ?1: worker, ?2: limit
SELECT place FROM job WHERE state = 'running' AND worker = ?1 ORDER BY started_at, priority DESC, run_at, place LIMIT ?2
