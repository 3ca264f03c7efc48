-- {rows} of: id, state, gate, rank
UPDATE job SET state = v.column2, gate = v.column3, rank = v.column4
FROM (VALUES {rows}) AS v
WHERE job.id = v.column1
