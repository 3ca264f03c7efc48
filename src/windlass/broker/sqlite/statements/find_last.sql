-- {source}: the index to walk. The job at which the walk has come so far, if it does.
SELECT id FROM job {source} WHERE {where} ORDER BY id DESC LIMIT 1 OFFSET ?
