-- ?1: job ids. The number that each one gave last, to an entry (the latest is never deleted before its job) or to an end.
SELECT json_group_array((
    SELECT max(revived, coalesce((SELECT max(seq) FROM entry WHERE job = id), 0)) FROM job WHERE id = wanted.value
))
FROM json_each(?1) AS wanted
