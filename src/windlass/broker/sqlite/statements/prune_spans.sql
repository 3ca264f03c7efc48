-- ?1: step, ?2: the spans from before then, ?3: limit
DELETE FROM span WHERE rowid IN (SELECT rowid FROM span WHERE step = ?1 AND at <= ?2 LIMIT ?3)
