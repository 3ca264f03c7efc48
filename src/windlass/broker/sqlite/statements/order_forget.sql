-- The groups that have had all their turns, but for what reckoning with fractions leaves.
DELETE FROM turn WHERE place <= (
    SELECT place + 0.00002 FROM clock WHERE clock.queue = turn.queue AND clock.lane = turn.lane AND clock.priority = turn.priority
)
