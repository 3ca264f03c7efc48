-- One key of a limit (terms.py: gate_name): what it admits and its accounts (gates.py: Gate, as msgpack), when time alone lets the next
-- one pass, and from when on nobody needs it.
CREATE TABLE gate (
    name TEXT PRIMARY KEY,
    data BLOB NOT NULL,
    opens REAL,
    idle REAL
) STRICT, WITHOUT ROWID;

CREATE INDEX gate_opens ON gate (opens) WHERE opens IS NOT NULL;
CREATE INDEX gate_idle ON gate (idle) WHERE idle IS NOT NULL;
-- Of a job with limits: the gate where it stands, and then its rank is the one there; '' once it has passed.
ALTER TABLE job ADD COLUMN gate TEXT;
CREATE INDEX job_gate ON job (gate, rank, run_at, id) WHERE gate IS NOT NULL;
