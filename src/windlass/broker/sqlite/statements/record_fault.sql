-- ?1: fingerprint, ?2: last seen, ?3: data
INSERT OR REPLACE INTO fault (fingerprint, last_seen, data) VALUES (?1, ?2, ?3)
