-- ?1: now, ?2: gap, ?3: grace. Remember that we looked; answers from when on silence means death.
INSERT INTO look (one, looked, trusted) VALUES (1, ?1, ?1 + ?3)
ON CONFLICT (one) DO UPDATE SET
  trusted = CASE WHEN ?1 >= looked AND ?1 < looked + ?2 THEN trusted ELSE excluded.trusted END,
  looked = excluded.looked
RETURNING trusted
