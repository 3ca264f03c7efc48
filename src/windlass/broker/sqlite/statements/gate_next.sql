SELECT min(opens) FROM gate WHERE opens IS NOT NULL
