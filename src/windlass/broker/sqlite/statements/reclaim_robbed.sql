UPDATE worker SET robbed = 1 WHERE id = ?1
