-- {rows} of: name, data, opens, idle
INSERT OR REPLACE INTO gate (name, data, opens, idle)
SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL
