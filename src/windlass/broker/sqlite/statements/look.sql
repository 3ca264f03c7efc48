-- What every decision about a job is made from, of the places {chosen}; and apart from it, by place, what is only for jobs with terms.
SELECT json_group_array(json_array(
    place, id, queue, state, attempt, crashes, crash_limit, releases, json(iif(cancelling, 'true', 'false')),
    max(-1e18, min(run_at, 1e18)), worker, key
)), json_group_array(json_array(place, json_array(
    task, hex(terms), json(iif(started_at IS NULL, 'false', 'true')), letters, awaited, lane, priority, gate
))) FILTER (WHERE terms IS NOT NULL)
FROM job WHERE place IN ({chosen})
