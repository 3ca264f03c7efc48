-- ?1: worker, ?2: state, ?3: stacks (each NULL: as it was), ?4: now
UPDATE worker SET wanted = coalesce(?2, wanted), stacks = coalesce(?3, stacks) WHERE id = ?1 AND until > ?4 AND NOT robbed
