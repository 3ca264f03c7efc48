-- ?1: when the last one was seen, ?2: its fingerprint, ?3: limit
SELECT data FROM fault WHERE (last_seen, fingerprint) < (?1, ?2) ORDER BY last_seen DESC, fingerprint DESC LIMIT ?3
