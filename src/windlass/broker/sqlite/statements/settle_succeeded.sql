-- {rows} of: place, result, now
UPDATE job SET
    state = 'succeeded', result = v.column2, finished_at = v.column3, prune_at = max(v.column3 + keep, coalesce(held_until, 0)), error = NULL,
    cancelling = 0
FROM (VALUES {rows}) AS v
WHERE job.place = v.column1
