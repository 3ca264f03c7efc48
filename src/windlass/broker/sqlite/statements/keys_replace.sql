-- ?1: the id of the job that is replaced, ?2 and on: the new one, as `enqueue` has it
UPDATE job SET
    place = (SELECT seq FROM sqlite_sequence WHERE name = 'job'),
    became = ?2, task = ?3, queue = ?4, lane = ?5, priority = ?6, state = ?7, run_at = ?9, expires_at = ?10, crash_limit = ?12, keep = ?13,
    keep_failed = ?14, body = ?15, terms = ?16, held_until = ?17, rank = ?18, shifted = ?19, gate = NULL
WHERE id = ?1
