-- ?1: job, ?2: after
SELECT state, attempt, (
    SELECT json_group_array(json_array(kind, hex(data), at, attempt, seq))
    FROM (SELECT * FROM entry WHERE job = ?1 AND seq > ?2 ORDER BY seq)
)
FROM job WHERE id = ?1
