"""The options that benchmarks have in common (DESIGN section 6)."""

from __future__ import annotations

import argparse
from collections.abc import Iterable


def options(
    name: str, description: str, *, quick: str, seed: str | None = None, sets: Iterable[str] = ()
) -> argparse.ArgumentParser:
    """Of `python -m benchmarks.NAME`. `quick`: what it does; `seed`: of what; `sets`: whose files may be given."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--markdown", action="store_true", help="tables (the default)")
    if seed is not None:
        parser.add_argument("--seed", type=int, default=1, help=f"of {seed} (%(default)s)")
    if named := ", ".join(sets):
        parser.add_argument("--data", action="append", default=[], metavar="NAME=FILE", help=f"sets: {named}")
    return parser
