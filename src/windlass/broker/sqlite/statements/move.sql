-- {rows} of: place, state, queue, attempt, crashes, releases, run_at, finished_at, error, reason, whether the expiry stands, how many
-- places before the last given one the job moves to, its rank, whether that says more than priority and due time
UPDATE job SET
    place = (SELECT seq FROM sqlite_sequence WHERE name = 'job') - v.column12,
    state = v.column2,
    queue = v.column3,
    attempt = v.column4,
    crashes = v.column5,
    releases = v.column6,
    run_at = v.column7,
    finished_at = v.column8,
    prune_at = max(v.column8 + iif(v.column2 = 'failed', keep_failed, keep), coalesce(held_until, 0)),
    error = coalesce(v.column9, error),
    reason = v.column10,
    expires_at = iif(v.column11, expires_at, NULL),
    cancelling = 0,
    rank = v.column13,
    shifted = v.column14,
    gate = NULL
FROM (VALUES {rows}) AS v
WHERE job.place = v.column1
