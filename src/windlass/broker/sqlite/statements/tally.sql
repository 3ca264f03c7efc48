SELECT queue, state, jobs, queue IN (SELECT queue FROM paused) FROM tally WHERE jobs > 0
UNION ALL
SELECT queue, NULL, 0, 1 FROM paused
ORDER BY queue
