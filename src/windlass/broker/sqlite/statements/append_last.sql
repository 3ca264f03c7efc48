-- ?1: job ids. The number of each one's latest entry, which is never deleted before its job.
SELECT json_group_array((SELECT coalesce(max(seq), 0) FROM entry WHERE job = wanted.value)) FROM json_each(?1) AS wanted
