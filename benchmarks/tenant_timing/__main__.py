"""python -m benchmarks.tenant_timing: see README.md beside this file."""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.admission_live.client import Callers
from benchmarks.admission_live.workspace import serving
from benchmarks.engines import CHANNEL, write
from benchmarks.gateway_overhead import processes
from benchmarks.gateway_overhead.native import CannotRunError
from benchmarks.options import options
from benchmarks.tables import claim, tell

PAIRS: Final = 5000
QUICK: Final = 60
MODEL: Final = "one"
REST: Final = "is the name of the company that we shall buy on Monday, tell nobody"
"""What stands behind the word of a prompt: enough for an engine that had kept it to be seen to."""
OWN: Final = 10
"""In one of so many pairs the attacker sends a prompt twice, too: what an engine that keeps prompts would show."""
MOST: Final = 0.53
Z: Final = 1.6448536269514722
"""Of 95 %, one side."""


def measure(folder: Path, pairs: int, seed: int) -> dict[str, Any]:
    """Raises CannotRunError."""
    home = folder / "workspace"
    engine = {"model": "bundled", "context": 256, "slots": 2}
    model = {"dialect": "llamacpp", "tier": "S", "context": 256, "slots": 2, "endpoint": f"engine:{MODEL}"}
    keys = write(home, ("victim", "attacker"), {MODEL: engine}, {MODEL: model})
    with serving(home, keys["victim"]) as up:
        sent, own, never = asyncio.run(_all(up.port, keys, pairs, seed))
    figures, claims = [], []
    for what, known in (("another tenant had sent it", sent), ("the attacker itself had sent it", own)):
        auc, bound = area(known, never)
        figures.append({"of a prompt": what, "times": len(known), "AUC": round(auc, 4), "upper bound": round(bound, 4)})
    auc, bound = area(sent, never)
    what = "AUC of who tells by time to first token what another tenant has sent, upper bound at 95 %"
    claims.append(claim(what, bound, 0.5, f"<= {MOST}", bound <= MOST))
    return {"figures": figures, "claims": claims}


async def _all(port: int, keys: dict[str, str], pairs: int, seed: int) -> tuple[list[float], list[float], list[float]]:
    """Times to first token, in ms, of prompts that the victim had just sent, that the attacker had, and nobody. Which
    of the three comes first is drawn for each pair."""
    victim, attacker = (
        Callers(port, (f"Authorization: Bearer {keys[one]}", f"trimtab-channel: {CHANNEL}"))
        for one in ("victim", "attacker")
    )
    chosen, found = random.Random(seed), ([], [], [])  # type: tuple[random.Random, tuple[list[float], ...]]
    for number in range(pairs):
        theirs, mine, nobodys = (blake2b(f"{seed} {number} {one}".encode(), digest_size=8).hexdigest() for one in "abc")
        steps = [(0, theirs, victim), (2, nobodys, None)]
        if number % OWN == 0:
            steps.append((1, mine, attacker))
        chosen.shuffle(steps)
        for at, word, before in steps:
            if before is not None:
                await _first_ms(before, word)
            found[at].append(await _first_ms(attacker, word))
        if number % 500 == 499:
            print(f"{number + 1} pairs", file=sys.stderr, flush=True)
    victim.close()
    attacker.close()
    return found[0], found[1], found[2]


async def _first_ms(callers: Callers, word: str) -> float:
    content = [{"role": "user", "content": f"{word} {REST}"}]
    seen = await callers.ask(
        msgspec.json.encode(
            {"model": f"{MODEL}-plain", "messages": content, "stream": True, "max_tokens": 1, "temperature": 1}
        )
    )
    if seen.status != 200 or seen.code:
        raise CannotRunError(f"a request was not answered: {seen.status} {seen.code}")
    return seen.e2e_ms  # of one token, which may be the end


def area(known: Sequence[float], never: Sequence[float]) -> tuple[float, float]:
    """The share of pairs in which the known prompt was faster (AUC), and its upper bound at 95 % (DeLong, DeLong and
    Clarke-Pearson, Biometrics 44, 1988)."""
    places, others = _places(known, never), [1 - one for one in _places(never, known)]
    auc = sum(places) / len(places)
    variance = sum(sum((one - auc) ** 2 for one in each) / (len(each) - 1) / len(each) for each in (places, others))
    return auc, min(1.0, float(auc + Z * variance**0.5))


def _places(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Of each of ours, the share of theirs that is slower; of equals, half."""
    ordered = sorted(theirs)
    return [1 - (bisect_left(ordered, one) + bisect_right(ordered, one)) / 2 / len(ordered) for one in ours]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when it was measured, whatever the claims say; 2 when it can't be."""
    parser = options(
        "tenant_timing",
        "What time tells one tenant of another's prompts.",
        quick=f"{QUICK} pairs",
        seed="words and their order",
    )
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of a prompt sent before, and one that was not")
    given = parser.parse_args(arguments)
    try:
        processes.end_on_signals()
        with tempfile.TemporaryDirectory(prefix="tt-timing-") as folder:
            found = measure(Path(folder), QUICK if given.quick else given.pairs, given.seed)
    except CannotRunError as error:
        print(f"tenant_timing: {error}", file=sys.stderr)
        return 2
    tell(found, quick=given.quick, as_json=given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
