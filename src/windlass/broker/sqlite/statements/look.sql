-- What every decision about a job is made from, of the places {chosen}.
SELECT json_group_array(json_array(
    place, id, queue, state, attempt, crashes, crash_limit, releases, json(iif(cancelling, 'true', 'false')),
    max(-1e18, min(run_at, 1e18)), worker, key, priority, gate, CAST(terms AS TEXT)
))
FROM job WHERE place IN ({chosen})
