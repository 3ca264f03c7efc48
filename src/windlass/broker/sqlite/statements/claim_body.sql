SELECT body FROM job WHERE place = ?1
