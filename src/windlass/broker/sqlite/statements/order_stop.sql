-- ?1: now. The clocks that nobody needs any more.
DELETE FROM clock WHERE place <= ?1 AND NOT EXISTS (
    SELECT 1 FROM turn WHERE clock.queue = turn.queue AND clock.lane = turn.lane AND clock.priority = turn.priority
)
