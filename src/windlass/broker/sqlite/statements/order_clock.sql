-- {rows} of: queue, lane, priority, place
INSERT OR REPLACE INTO clock (queue, lane, priority, place) SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL
