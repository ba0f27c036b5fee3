"""What is asked of every gateway: the scenarios, and the bodies that they send."""

from __future__ import annotations

import csv
import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DISTINCT_PROMPTS = 16
COUNTER = "#0000000000000000"
"""load.c writes a running number over it, so that no two requests are the same."""

GatewayName = Literal["direct", "nginx", "trimtab", "litellm", "portkey"]


@dataclass(frozen=True)
class Scenario:
    """`amount`: connections, or requests a second for `open`. `share`: of --seconds. `answer`: see mock.c."""

    name: str
    mode: Literal["closed", "spread", "open"]
    amount: int
    share: float
    answer: str = "l0"
    body_bytes: int = 1024
    chunks: int = 0
    """Of a whole stream; 0: not streamed."""
    is_extra: bool = False
    """No claim is judged by it: left out first when time is short."""
    repeats: bool = False
    """The same few requests again and again: all but the first of each can be answered from a cache."""
    only: tuple[GatewayName, ...] | None = None
    quick: tuple[GatewayName, ...] = ("nginx", "trimtab")
    """Who runs it under --quick."""

    def seconds(self, base_s: float) -> float:
        """How long it sends; slow streams at least two seconds: they start over one, and each takes one."""
        return max(self.share * base_s, 2.0 if self.mode == "spread" else 0.0)

    def runs_on(self, gateway: str, quick: bool) -> bool:
        if self.only is not None and gateway not in self.only:
            return False
        return gateway in self.quick or not quick


_SLOW = "t0-g20-n50"
_ALL_QUICK: tuple[GatewayName, ...] = ("direct", "nginx", "trimtab")

# Light loads first: what a heavy one leaves behind (memory, warm connections) would otherwise colour them.
SCENARIOS: tuple[Scenario, ...] = (
    Scenario("s1_c1", "closed", 1, 0.75, quick=_ALL_QUICK),
    Scenario("s5_open25", "open", 25, 2, is_extra=True, quick=()),
    Scenario("s5_open100", "open", 100, 2, is_extra=True),
    Scenario("s4_slow10", "spread", 10, 1, _SLOW, chunks=50, is_extra=True, quick=()),
    Scenario("s1_c16", "closed", 16, 0.75, quick=_ALL_QUICK),
    # short questions: what is long or compound is not answered from the cache (the first rule of the policy)
    Scenario("s6_hits", "closed", 16, 0.75, body_bytes=192, repeats=True, only=("trimtab",)),
    Scenario("s2_32k", "closed", 16, 0.75, body_bytes=32 * 1024, is_extra=True),
    Scenario("s2b_long", "closed", 4, 0.75, body_bytes=240 * 1024, is_extra=True),
    Scenario("s3_burst", "closed", 16, 1, "t0-g0-n100", chunks=100, quick=_ALL_QUICK),
    Scenario("s1_c128", "closed", 128, 1, is_extra=True),
    Scenario("s4_slow200", "spread", 200, 1.5, _SLOW, chunks=50, quick=_ALL_QUICK),
)
BY_NAME = {one.name: one for one in SCENARIOS}
WARM_UP, WARM_UP_STREAMS = BY_NAME["s1_c16"], BY_NAME["s3_burst"]


class Prompts:
    """Texts that prompts are made of: made up from a fixed seed, or the rows of a file with a column `text`."""

    def __init__(self, file: Path | None = None) -> None:
        self._texts = list(_made_up()) if file is None else _read(file)

    def bodies(self, scenario: Scenario, model: str) -> bytes:
        """JSON bodies, one a line, of about the scenario's size. One in 16 holds an e-mail address, for the guards."""
        source = itertools.cycle(self._texts)
        return b"".join(self._body(scenario, model, index, source) + b"\n" for index in range(DISTINCT_PROMPTS))

    def _body(self, scenario: Scenario, model: str, index: int, source: Iterator[str]) -> bytes:
        words = f"mock-{scenario.answer} {COUNTER} This is question {index}."
        if index == 0:
            words += " You can write to ada.lovelace@example.com."
        ask = {"model": model, "messages": [{"role": "user", "content": ""}], "max_tokens": 256}
        if scenario.chunks:
            ask |= {"stream": True, "stream_options": {"include_usage": True}}
        room = scenario.body_bytes - len(_json(ask))
        parts, size = [words], len(words)
        while size < room:
            parts.append(next(source))
            size += len(_json(parts[-1])) - 1  # without its quotes, with the space before it
        text = " ".join(parts)
        while (excess := len(_json(text)) - 2 - room) > 0:  # by size as sent: the same in every language
            text = text[: -max(1, excess // 6)]
        return _json(ask | {"messages": [{"role": "user", "content": text}]})


def _json(value: object) -> bytes:
    """As clients write it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _made_up() -> Iterator[str]:
    """Sentences of a shop's help chat."""
    chance = random.Random(20_261_124)
    who = ["I", "My sister", "The driver", "Your colleague", "A neighbour", "Our office"]
    did = ["ordered", "returned", "never received", "asked about", "paid twice for", "wants to change", "cancelled"]
    what = [
        "the blue kettle",
        "two garden chairs",
        "a phone case",
        "the winter jacket",
        "that gift card",
        "a desk lamp",
    ]
    when = ["last Monday", "in the spring sale", "on the 3rd", "before the holidays", "an hour ago", "by telephone"]
    then = [
        "and nobody could say where it is now",
        "but the invoice shows another amount",
        "so please tell me what I have to do next",
        "although the page said it would be delivered the next day",
        "and I would like to have the money back",
        "while the tracking number leads nowhere",
    ]
    for _ in range(400):
        yield " ".join(chance.choice(part) for part in (who, did, what, when, then)) + "."


def _read(file: Path) -> list[str]:
    """The column `text` of a .csv, or of a file with one JSON object a line. Raises ValueError, OSError."""
    with file.open(newline="", encoding="utf-8") as lines:
        rows = csv.DictReader(lines) if file.suffix == ".csv" else (json.loads(line) for line in lines if line.strip())
        texts = [str(row["text"]).strip() for row in rows if isinstance(row, dict) and row.get("text")]
    texts = [one.replace(COUNTER, "").encode(errors="replace").decode() for one in texts if one]
    if not texts:
        raise ValueError(f"{file} has no row with a column `text`")
    return texts
