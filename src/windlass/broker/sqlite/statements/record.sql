-- ?1: writer, ?2: number, ?3: now. Changes nothing when the writer has told that number, or a later one, already.
INSERT INTO writer (id, number, told_at) VALUES (?1, ?2, ?3)
ON CONFLICT (id) DO UPDATE SET number = excluded.number, told_at = excluded.told_at WHERE excluded.number > number
