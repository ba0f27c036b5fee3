"""Who chooses a replica: ours, and four that peers have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from trimtab.core.clock import Clock
from trimtab.core.contract import Latency
from trimtab.core.money import Usage
from trimtab.dataplane.admission import Gate, Refused, Ticket, Turn
from trimtab.dataplane.inference import Belief, Choice, Origin, Placed, Prompt, Replica

MODEL: Final = "model"
MOST: Final = 100_000
_HOUR_MS: Final = 3_600_000.0
_ANY: Final = Latency(ttft_ms=_HOUR_MS, itl_ms=_HOUR_MS, e2e_ms=_HOUR_MS, percentile=0.9, deadline_ms=3 * _HOUR_MS)
_BYTES: Final = 4
"""Of a token."""


class Request(NamedTuple):
    """One to come. `blocks` are named by all that comes up to their end."""

    at_s: float
    prompt: int
    output: int
    blocks: tuple[int, ...]


class Sent(Protocol):
    """A request that is on its way to a replica."""

    replica: int

    def wrote(self, tokens: int) -> None:
        """So many of its tokens have come in all."""

    def end(self, cached: int) -> None:
        """All have; the engine tells how many tokens of the prompt it had held."""


class Policy(Protocol):
    """Chooses. `running`: requests on each replica."""

    async def send(self, request: Request, running: Sequence[int]) -> Sent: ...


class Plain:
    """Nothing is learned of it."""

    def __init__(self, replica: int) -> None:
        self.replica = replica

    def wrote(self, tokens: int) -> None:
        """It does not matter."""

    def end(self, cached: int) -> None:
        """It does not matter."""


class RoundRobin:
    """One after the other."""

    def __init__(self, clock: Clock, replicas: int, block: int, tokens: int) -> None:
        self._next = -1

    async def send(self, request: Request, running: Sequence[int]) -> Sent:
        self._next = (self._next + 1) % len(running)
        return Plain(self._next)


class LeastLoaded:
    """The one with the fewest requests."""

    def __init__(self, clock: Clock, replicas: int, block: int, tokens: int) -> None:
        pass

    async def send(self, request: Request, running: Sequence[int]) -> Sent:
        return Plain(fewest(running))


class Sticky:
    """A conversation stays where it began, which is where the fewest ran. It is known by the blocks of its last turn;
    the first block is everybody's."""

    def __init__(self, clock: Clock, replicas: int, block: int, tokens: int) -> None:
        self._homes: dict[int, int] = {}

    async def send(self, request: Request, running: Sequence[int]) -> Sent:
        known = (self._homes[one] for one in reversed(request.blocks[1:]) if one in self._homes)
        home = next(known, None)
        home = fewest(running) if home is None else home
        self._homes |= dict.fromkeys(request.blocks[1:], home)
        return Plain(home)


class PrefixOnly:
    """Whoever is believed to hold most of it, by our index; of equals the one with the fewest requests."""

    def __init__(self, clock: Clock, replicas: int, block: int, tokens: int) -> None:
        self._index = Index(replicas, block, tokens)

    async def send(self, request: Request, running: Sequence[int]) -> Sent:
        belief = self._index.look(request)
        replica = max(range(len(running)), key=lambda one: (belief.shares.get(str(one), 0.0), -running[one]))
        return _Indexed(self._index, request, belief, replica)


class Ours:
    """The gateway's own: index, gate and its tier's costs. Nobody is refused."""

    def __init__(self, clock: Clock, replicas: int, block: int, tokens: int) -> None:
        self._clock = clock
        self._gate = Gate(clock, MOST, [str(one) for one in range(replicas)])
        self._index = Index(replicas, block, tokens)

    async def send(self, request: Request, running: Sequence[int]) -> Sent:
        belief = self._index.look(request)
        ask = self._gate.tier.expected.ask((MODEL, ""), request.prompt * _BYTES, MOST)
        turn = Turn(
            rank=2, tenant=MODEL, at_ns=self._clock.now_ns(), latency=_ANY, ask=ask, held=belief.shares, key=id(request)
        )
        ticket = await self._gate.admit(turn, 60.0)
        assert not isinstance(ticket, Refused), "every contract can be kept"
        ticket.sent()
        return _Admitted(self._index, request, belief, ticket, self._gate)


class Index:
    """`Choice` over the trace's own blocks."""

    def __init__(self, replicas: int, block: int, tokens: int) -> None:
        self._choice, self._block = Choice(), block
        self.replicas = [
            Replica(id=str(one), model=MODEL, origin=Origin.parse(f"http://replica:{1 + one}"), path="/")
            for one in range(replicas)
        ]
        self._choice.update({MODEL: self.replicas}, {MODEL: tokens})

    def look(self, request: Request) -> Belief:
        blocks = tuple(one.to_bytes(8, "big") for one in request.blocks)
        return self._choice.look(MODEL, Prompt(blocks, min(1.0, self._block / request.prompt)))

    def placed(self, replica: int, belief: Belief, tokens: int) -> Placed | None:
        return self._choice.placed(self.replicas[replica], belief, tokens)

    def corrected(self, placed: Placed, request: Request, cached: int) -> None:
        self._choice.corrected(placed, Usage(prompt=request.prompt, cached=cached, completion=request.output))


class _Indexed:
    def __init__(self, index: Index, request: Request, belief: Belief, replica: int) -> None:
        self.replica = replica
        self._index, self._request, self._belief = index, request, belief
        self._placed: Placed | None = None

    def wrote(self, tokens: int) -> None:
        if tokens == 1:
            self._placed = self._index.placed(self.replica, self._belief, self._request.prompt)

    def end(self, cached: int) -> None:
        assert self._placed is not None
        self._index.corrected(self._placed, self._request, cached)


class _Admitted(_Indexed):
    def __init__(self, index: Index, request: Request, belief: Belief, ticket: Ticket, gate: Gate) -> None:
        super().__init__(index, request, belief, int(ticket.order[0]))
        self._ticket, self._gate = ticket, gate

    def wrote(self, tokens: int) -> None:
        super().wrote(tokens)
        self._ticket.wrote(tokens)

    def end(self, cached: int) -> None:
        super().end(cached)
        self._ticket.end("success")
        self._gate.tier.expected.read(self._request.prompt * _BYTES, self._request.prompt)


def fewest(running: Sequence[int]) -> int:
    return min(range(len(running)), key=running.__getitem__)


Make = Callable[[Clock, int, int, int], Policy]
OURS: Final = "predicted seconds (ours)"
POLICIES: Final[dict[str, Make]] = {
    OURS: Ours,
    "round robin": RoundRobin,
    "least loaded": LeastLoaded,
    "sticky": Sticky,
    "prefix only": PrefixOnly,
}


def trace(rows: Sequence[dict[str, Any]], pace: float) -> list[Request]:
    """The trace's requests, `pace` times as fast."""
    return [
        Request(
            row["timestamp"] / 1000 / pace,
            max(1, row["input_length"]),
            max(1, row["output_length"]),
            tuple(row["hash_ids"]),
        )
        for row in rows
    ]
