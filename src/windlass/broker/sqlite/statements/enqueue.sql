-- {rows} of: id, task, queue, lane, priority, state, created_at, run_at, expires_at, key, crash_limit, keep, keep_failed, body, all without
-- terms. Their rank says no more than priority and due time (order.py: rank). Rows of NULL fill a statement up to a size that is prepared already.
INSERT INTO job (
    id, task, queue, lane, priority, state, created_at, run_at, expires_at, key, crash_limit, keep, keep_failed, body, rank
)
SELECT *, (9 - column5) * 600000000000000 + CAST(max(0, min(column8, 1.19e10)) * 50000 AS INTEGER)
FROM (VALUES {rows}) WHERE column1 IS NOT NULL
