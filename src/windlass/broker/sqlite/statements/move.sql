-- {rows} of: place, state, attempt, crashes, releases, run_at, finished_at, error, reason, whether the expiry stands, how many places
-- before the last given one the job moves to
UPDATE job SET
    place = (SELECT seq FROM sqlite_sequence WHERE name = 'job') - v.column11,
    state = v.column2,
    attempt = v.column3,
    crashes = v.column4,
    releases = v.column5,
    run_at = v.column6,
    finished_at = v.column7,
    prune_at = v.column7 + iif(v.column2 = 'failed', keep_failed, keep),
    error = coalesce(v.column8, error),
    reason = v.column9,
    expires_at = iif(v.column10, expires_at, NULL),
    cancelling = 0
FROM (VALUES {rows}) AS v
WHERE job.place = v.column1
