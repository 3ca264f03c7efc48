-- {rows} of: id, state, gate, rank, whether that says more than priority and due time
UPDATE job SET state = v.column2, gate = v.column3, rank = v.column4, shifted = v.column5
FROM (VALUES {rows}) AS v
WHERE job.id = v.column1
