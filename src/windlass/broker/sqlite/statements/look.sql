-- What every decision about a job is made from, of the places {chosen}. What is only for jobs with terms comes last.
SELECT json_group_array(json_array(
    place, id, queue, state, attempt, crashes, crash_limit, releases, json(iif(cancelling, 'true', 'false')),
    max(-1e18, min(run_at, 1e18)), worker, key,
    json(CASE WHEN terms IS NULL THEN 'null' ELSE json_array(
        task, hex(terms), json(iif(started_at IS NULL, 'false', 'true')), letters, awaited, lane, priority, gate
    ) END)
))
FROM job WHERE place IN ({chosen})
