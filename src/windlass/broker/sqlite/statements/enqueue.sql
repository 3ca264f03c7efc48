-- {rows} of: id, task, queue, lane, priority, state, created_at, run_at, expires_at, key, crash_limit, keep, keep_failed, body, terms, root,
-- held_until, rank, whether that says more than priority and due time. Rows of NULL fill a statement up to a size that is prepared already.
INSERT INTO job (
    id, task, queue, lane, priority, state, created_at, run_at, expires_at, key, crash_limit, keep, keep_failed, body, terms, root,
    held_until, rank, shifted
)
SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL
