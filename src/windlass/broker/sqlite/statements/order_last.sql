-- ?1: queue, ?2: lane, ?3: priority, ?4: group
SELECT place FROM turn WHERE queue = ?1 AND lane = ?2 AND priority = ?3 AND owner = ?4
