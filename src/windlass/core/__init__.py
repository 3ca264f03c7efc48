"""The pure core: what a job is, which states it knows, how an ending becomes an outcome. No clock, no I/O."""
