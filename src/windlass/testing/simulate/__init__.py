"""Whole workers, simulated: real supervisors, runners and upkeep on the memory broker, in virtual time, with faults drawn from a seed.

`python -m windlass.testing.simulate` runs many seeds; `--seed N` shows one of them again, step by step. What is simulated, what is
checked, and how: docs/design/simulation.md.

loop, process, clock     one thread that plays all processes, and a clock that jumps
plan                     what is drawn from the seed: machines, jobs, faults
store                    the memory broker behind a network that loses and delays
world, troubles          what goes on around it; machines, work: the workers, and the code of their jobs
books, judge             what must be true, kept apart from the store and compared with it
story, account           one simulation, from boot to the last look; campaign: many; mutants: with a mistake in Windlass
"""
