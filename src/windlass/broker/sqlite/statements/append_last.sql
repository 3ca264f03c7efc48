-- ?1: job ids. The number that each one gave last, to an entry (the latest is never deleted before its job) or to an end; and of the latest
-- entry the token, and the number that its run gave.
SELECT json_group_array(json_array(id, max(revived, coalesce(seq, 0)), coalesce(token, 0), coalesce(number, 0)))
FROM job LEFT JOIN entry ON job = id AND seq = (SELECT max(seq) FROM entry WHERE job = id)
WHERE id IN (SELECT value FROM json_each(?1))
