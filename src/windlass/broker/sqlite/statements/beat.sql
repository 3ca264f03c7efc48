-- ?1: worker, ?2: card, ?3: until. Answers what is wished of it; nothing when it was robbed.
INSERT INTO worker (id, card, until) VALUES (?1, ?2, ?3)
ON CONFLICT (id) DO UPDATE SET card = excluded.card, until = excluded.until WHERE NOT robbed
RETURNING wanted, stacks
