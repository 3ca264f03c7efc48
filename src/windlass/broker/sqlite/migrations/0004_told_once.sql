-- Under which token an entry was written, and the latest number that its run had given to one by then.
ALTER TABLE entry ADD COLUMN token INTEGER NOT NULL DEFAULT 0;
ALTER TABLE entry ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
-- What is wished of a worker: the state, '' for none, and the number of the stacks.
ALTER TABLE worker ADD COLUMN wanted TEXT NOT NULL DEFAULT '';
ALTER TABLE worker ADD COLUMN stacks REAL NOT NULL DEFAULT 0;
