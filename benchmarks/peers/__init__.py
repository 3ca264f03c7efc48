"""Windlass beside the other Python task queues: one run, one machine, the same jobs, the same detector. Start with `run.py`."""
