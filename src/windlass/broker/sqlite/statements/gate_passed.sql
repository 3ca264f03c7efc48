-- Who passed gates and has not started. ?1: of which queue; NULL: of any
SELECT place FROM job WHERE gate = '' AND state = 'ready' AND (?1 IS NULL OR queue = ?1)
