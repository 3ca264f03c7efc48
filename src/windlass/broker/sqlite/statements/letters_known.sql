-- ?1: [[job, name], ...]. Which of these letters there are.
SELECT json_group_array(json_array(job, name)) FROM entry
WHERE name IS NOT NULL AND (job, name) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))
