-- ?1: fingerprint
SELECT data FROM fault WHERE fingerprint = ?1
