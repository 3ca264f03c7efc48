-- ?1: now, ?2: seconds to remember them
DELETE FROM writer WHERE told_at + ?2 <= ?1
