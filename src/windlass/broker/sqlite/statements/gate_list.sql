-- ?1: the name to go on after, ?2: now, ?3: limit. Without those of paused queues.
SELECT name, data FROM gate WHERE name > ?1 AND (idle IS NULL OR idle > ?2) AND substr(name, 1, 1) <> char(31) ORDER BY name LIMIT ?3
