-- ?1: now
SELECT id, card, until, (SELECT count(*) FROM job WHERE job.worker = worker.id AND job.state = 'running'), wanted, stacks
FROM worker WHERE until > ?1 AND NOT robbed ORDER BY id
