-- ?1: [[queue, state, jobs more], ...]
INSERT INTO tally (queue, state, jobs)
SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1) WHERE true
ON CONFLICT (queue, state) DO UPDATE SET jobs = jobs + excluded.jobs
