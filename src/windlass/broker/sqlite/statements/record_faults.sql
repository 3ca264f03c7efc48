-- ?1: how many are kept
DELETE FROM fault WHERE fingerprint IN (SELECT fingerprint FROM fault ORDER BY last_seen DESC, fingerprint DESC LIMIT -1 OFFSET ?1)
