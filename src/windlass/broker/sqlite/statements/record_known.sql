-- ?1: step, ?2: at
SELECT rollups FROM span WHERE step = ?1 AND at = ?2
