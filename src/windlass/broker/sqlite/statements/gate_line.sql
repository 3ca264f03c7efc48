-- ?1: gate, then the rank, time and id of the one to go on after, ?5: limit
SELECT place FROM job WHERE gate = ?1 AND state = 'waiting' AND (rank, run_at, id) > (?2, ?3, ?4) ORDER BY rank, run_at, id LIMIT ?5
