-- The groups that have had all their turns.
DELETE FROM turn WHERE place <= (
    SELECT place FROM clock WHERE clock.queue = turn.queue AND clock.lane = turn.lane AND clock.priority = turn.priority
)
