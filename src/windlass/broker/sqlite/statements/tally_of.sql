-- ?1: state
SELECT coalesce(sum(jobs), 0) FROM tally WHERE state = ?1
