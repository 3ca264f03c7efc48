-- When the dead were looked for last, and from when on the silence of a worker means its death: one row.
CREATE TABLE look (one INTEGER PRIMARY KEY CHECK (one = 1), looked REAL NOT NULL, trusted REAL NOT NULL);
