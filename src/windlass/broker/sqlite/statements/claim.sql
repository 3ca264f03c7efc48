-- ?1: worker, ?2: now, ?3: queue; {lanes} holds a claim_lane for each lane with room. One row of JSON: a step per job would cost
-- a hand-over of the interpreter lock each. A long body is fetched apart. JSON has no infinite numbers, and one job must not be in the way
-- of the others.
SELECT json_group_array(json_array(
    rank, max(-1e18, min(run_at, 1e18)), place, id, task, lane, attempt + 1, crashes, crash_limit, max(-1e18, min(created_at, 1e18)),
    started_at IS NOT NULL, CASE WHEN length(body) <= 65536 THEN hex(body) END, key, iif(gate IS NULL, NULL, hex(terms))
))
FROM ({lanes})
WHERE EXISTS (SELECT 1 FROM worker WHERE id = ?1 AND until > ?2 AND NOT robbed)
AND NOT EXISTS (SELECT 1 FROM paused WHERE queue = ?3)
