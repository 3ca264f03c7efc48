"""`sqlite://`: jobs in one file, for any number of processes on one machine."""
