-- {rows} of: place, letters
UPDATE job SET letters = v.column2 FROM (VALUES {rows}) AS v WHERE job.place = v.column1
