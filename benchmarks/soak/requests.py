"""What is asked: every request by its number and the seed alone, so that each process knows its share."""

from __future__ import annotations

import random
import re
from typing import Final, Literal, NamedTuple

import msgspec

Kind = Literal["plain", "stream", "repeat", "fault", "stream fault", "hang-up", "stream hang-up"]

SHARES: Final[dict[Kind, float]] = {
    "stream": 0.173,
    "stream hang-up": 0.025,
    "stream fault": 0.002,
    "hang-up": 0.025,
    "fault": 0.008,
    "repeat": 0.05,
    "plain": 0.717,
}
"""20 % streams, 5 % hang-ups, 1 % faults; one of twenty may be answered from the cache."""
REPEATED: Final = 200
"""Questions that are asked again and again."""
FAULTS: Final = 5
_SAID: Final = (
    "order parcel return voucher shoes size refund invoice address payment gift card delivery store opening hours "
    "jacket colour late damaged exchange account password stock receipt warranty customer service weekend why how"
)
_WORDS: Final = tuple(re.findall(r"\w+", _SAID))


class Ask(NamedTuple):
    """One request. `leave_s`: a caller that waits for the whole answer goes after so long; `leave_events`: one that
    reads a stream goes after so many pieces."""

    kind: Kind
    body: bytes
    leave_s: float | None = None
    leave_events: int | None = None


def ask(seed: int, number: int) -> Ask:
    """The request of this number."""
    chance = random.Random(seed * 1_000_000_007 + number)
    (kind,) = chance.choices(list(SHARES), list(SHARES.values()))
    leave_s = leave_events = None
    script = f"say-n{chance.randint(8, 24)}"
    about = number
    if kind == "repeat":
        about = chance.randrange(REPEATED)
        script = "say-n16"
    elif kind.endswith("hang-up"):
        script = "say-n60-w10-g4"
        leave_s = chance.uniform(0, 0.06)
        leave_events = chance.randint(1, 8)
    elif kind.endswith("fault"):
        script += f"-{chance.choice('ft')}{chance.randint(1, FAULTS)}"
    elif kind == "stream" and chance.random() < 0.5:
        script += "-g2"
    text = f"{script} {about} {' '.join(_WORDS[(about * 31 + at * 7) % len(_WORDS)] for at in range(5 + about % 40))}"
    if about % 10 == 0:
        text += f" Write to customer{about}@example.com"
    body: dict[str, object] = {"messages": [{"role": "user", "content": text}], "max_tokens": 200}
    if "stream" in kind:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return Ask(kind, msgspec.json.encode(body), leave_s, leave_events)
