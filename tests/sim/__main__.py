"""`make simulate-faults`: many seeds on all cores, or one of them again with all that happened in it."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time

from sim.run import SEEDS, Result, run

_CHUNK = 25


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate-faults", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="this one alone, with its whole trace")
    parser.add_argument("--most", type=int, default=5, help="end after so many that fail")
    given = parser.parse_args()
    if given.seed is not None:
        result = run(given.seed, rows=1_000_000)
        print(result if result.broken is not None else f"{result.trace}\n{result}")
        return int(result.broken is not None)
    return _many(given.first, given.seeds, given.most)


def _many(first: int, count: int, most: int) -> int:
    began = time.monotonic()
    failed: list[Result] = []
    done = steps = 0
    with multiprocessing.Pool() as pool:
        for result in pool.imap_unordered(run, range(first, first + count), _CHUNK):
            done += 1
            steps += result.steps
            if result.broken is not None:
                failed.append(result)
                print(f"{result}\n", flush=True)
                if len(failed) >= most:
                    break
            if done % 500 == 0:
                rate = done / (time.monotonic() - began)
                print(f"{done} of {count} seeds, {rate:.0f} a second, {len(failed)} fail", flush=True)
    took = time.monotonic() - began
    print(
        f"{done} seeds from {first} on, {steps} steps, {len(failed)} fail: {took:.1f} s on {os.cpu_count()} cores, "
        f"{done / took:.0f} a second"
    )
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
