-- What a job asks for beside its turn (terms.py: Terms, as JSON); NULL of a plain one.
ALTER TABLE job ADD COLUMN terms BLOB;
