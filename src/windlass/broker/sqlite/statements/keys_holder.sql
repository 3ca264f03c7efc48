-- ?1: key. The job that has it, or had it last and may be over.
SELECT place, id, queue, lane, priority, state, started_at IS NOT NULL, finished_at IS NOT NULL, created_at, terms, gate
FROM job WHERE key = ?1 AND NOT let_go AND (finished_at IS NULL OR held_until IS NOT NULL)
