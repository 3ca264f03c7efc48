-- Of each queue's ready jobs, the time of the one that is due for longest: by the index, line by line, priority by priority.
WITH RECURSIVE line (queue, lane) AS (
    SELECT queue, (SELECT min(lane) FROM job WHERE state = 'ready' AND queue = tally.queue)
    FROM tally WHERE state = 'ready' AND jobs > 0
    UNION ALL
    SELECT queue, (SELECT min(lane) FROM job WHERE state = 'ready' AND queue = line.queue AND lane > line.lane)
    FROM line WHERE lane IS NOT NULL
)
SELECT queue, min((
    SELECT min(run_at) FROM job WHERE state = 'ready' AND queue = line.queue AND lane = line.lane AND priority = of.value
))
FROM line, json_each('[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]') AS of WHERE lane IS NOT NULL GROUP BY queue
