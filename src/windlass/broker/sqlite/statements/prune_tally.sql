DELETE FROM tally WHERE jobs = 0
