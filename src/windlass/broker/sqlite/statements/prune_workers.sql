-- ?1: now, ?2: seconds to remember them
DELETE FROM worker WHERE until + ?2 <= ?1 AND id NOT IN (SELECT worker FROM job WHERE state = 'running')
