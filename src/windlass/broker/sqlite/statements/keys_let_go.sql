-- ?1: id, ?2: 1 when its key may be another's, 0 when it has it again
UPDATE job SET let_go = ?2 WHERE id = ?1
