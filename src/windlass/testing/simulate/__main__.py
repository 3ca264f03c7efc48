"""`python -m windlass.testing.simulate`: many seeds, or one of them with its trace."""

from __future__ import annotations

import argparse
import sys
import traceback

from windlass.testing.simulate.books import Violation
from windlass.testing.simulate.campaign import Tally, cores, run_many, table, timed
from windlass.testing.simulate.mutants import MUTANTS
from windlass.testing.simulate.plan import FAULTS, draw
from windlass.testing.simulate.story import simulate

COMMAND = "python -m windlass.testing.simulate"


def main(words: list[str] | None = None) -> int:
    """The exit code: 0 when all promises were kept, 1 when one was broken, 2 when the command makes no sense."""
    given = _parser().parse_args(words)
    if given.mutants:
        for name, mutant in MUTANTS.items():
            print(f"  {name:<{max(map(len, MUTANTS))}}  {mutant.what}")
        return 0
    if given.faults:
        for fault, what in FAULTS.items():
            print(f"  {fault:<{max(map(len, FAULTS))}}  {what}")
        return 0
    if given.seed is not None:
        return replay(given.seed, given.mutant)
    return campaign(given.first, given.seeds, given.mutant, given.processes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        COMMAND, description="Deterministic simulation of workers on the memory broker, with faults."
    )
    parser.add_argument("--seeds", type=int, default=1000, metavar="N", help="how many to simulate (1000)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the first of them (0)")
    parser.add_argument("--seed", type=int, metavar="N", help="simulate this one, and print its plan and its trace")
    parser.add_argument("--processes", type=int, default=cores(), metavar="N", help="processes to use (all cores)")
    parser.add_argument("--mutant", choices=MUTANTS, metavar="NAME", help="simulate Windlass with this mistake in it")
    parser.add_argument("--mutants", action="store_true", help="list the mistakes")
    parser.add_argument("--faults", action="store_true", help="list the faults")
    return parser


def campaign(first: int, count: int, mutant: str | None, processes: int) -> int:
    """Simulate many seeds, and print what came of them."""

    def heard(total: Tally) -> None:
        if sys.stderr.isatty():
            print(f"\r{total.seeds:,} of {count:,}", end="", file=sys.stderr, flush=True)

    total, seconds = timed(lambda: run_many(first, count, mutant, processes, heard))
    if sys.stderr.isatty():
        print("\r", end="", file=sys.stderr)
    print("\n".join(table(total, seconds)))
    for seed, why in sorted(total.failures.items())[:1]:
        print(f"seed {seed} failed: {why}\nsee it again with: {_again(seed, mutant)}")
        return 1
    if never := total.never():
        print(f"in {total.seeds:,} seeds it never happened that: {'; '.join(never)}")
        return 1
    print("all promises were kept")
    return 0


def replay(seed: int, mutant: str | None) -> int:
    """Simulate one seed, and print its plan, its trace and its end."""
    print("\n".join(draw(seed).lines()))
    account = simulate(seed, mutant)
    print("\n".join(account.trace()))
    print(f"{account.steps:,} steps, {account.seconds:.1f} virtual seconds, trace {account.digest()[:16]}")
    if account.failure is None:
        print("all promises were kept")
        return 0
    if not isinstance(account.failure, Violation):
        traceback.print_exception(account.failure)
    print(f"seed {seed} failed: {type(account.failure).__name__}: {account.failure}")
    return 1


def _again(seed: int, mutant: str | None) -> str:
    return f"{COMMAND} --seed {seed}" + (f" --mutant {mutant}" if mutant else "")


if __name__ == "__main__":
    sys.exit(main())
