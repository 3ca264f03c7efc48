-- ?1: step, ?2: since, ?3: until
SELECT at, rollups FROM span WHERE step = ?1 AND at >= ?2 AND at < ?3 ORDER BY at
