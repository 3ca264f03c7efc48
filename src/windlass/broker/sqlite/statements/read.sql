-- ?1: job, ?2: after
SELECT state, attempt, (
    SELECT json_group_array(json_array(kind, hex(data), at, attempt, seq))
    FROM (SELECT * FROM entry WHERE job = ?1 AND seq > ?2 ORDER BY seq)
), max(revived, coalesce((SELECT max(seq) FROM entry WHERE job = ?1), 0))
FROM job WHERE id = ?1
