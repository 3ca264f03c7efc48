-- {rows} of: queue, lane, priority, group, place
INSERT OR REPLACE INTO turn (queue, lane, priority, owner, place) SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL
