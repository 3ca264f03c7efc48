-- ?1: step, ?2: at, ?3: rollups
INSERT OR REPLACE INTO span (step, at, rollups) VALUES (?1, ?2, ?3)
