-- Of each queue's ready jobs, the time of the one that is due for longest: of those that stand by it, by their index, line by line, priority
-- by priority (they are looked for among the first ones, where others may stand between them); of the others by theirs.
WITH RECURSIVE line (queue, lane) AS (
    SELECT queue, (SELECT min(lane) FROM job WHERE state = 'ready' AND queue = tally.queue)
    FROM tally WHERE state = 'ready' AND jobs > 0
    UNION ALL
    SELECT queue, (SELECT min(lane) FROM job WHERE state = 'ready' AND queue = line.queue AND lane > line.lane)
    FROM line WHERE lane IS NOT NULL
)
SELECT queue, min(due) FROM (
    SELECT queue, (
        SELECT run_at FROM (
            SELECT run_at, shifted FROM job
            WHERE state = 'ready' AND queue = line.queue AND lane = line.lane AND rank >= of.value * 600000000000000
            AND rank < (of.value + 1) * 600000000000000
            ORDER BY rank LIMIT 100
        ) WHERE NOT shifted LIMIT 1
    ) AS due
    FROM line, json_each('[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]') AS of WHERE lane IS NOT NULL
    UNION ALL
    SELECT queue, (SELECT min(run_at) FROM job WHERE state = 'ready' AND shifted AND queue = tally.queue)
    FROM tally WHERE state = 'ready' AND jobs > 0
) WHERE due IS NOT NULL GROUP BY queue
