-- {rows} of: what `enqueue` has, and terms, root, held_until, rank, whether that says more than priority and due time.
INSERT INTO job (
    id, task, queue, lane, priority, state, created_at, run_at, expires_at, key, crash_limit, keep, keep_failed, body, terms, root,
    held_until, rank, shifted
)
SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL
