-- {rows} of: place, letters that it awaits in all
UPDATE job SET awaited = v.column2 FROM (VALUES {rows}) AS v WHERE job.place = v.column1
