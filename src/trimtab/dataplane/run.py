"""One request in progress: its ledger, what it holds and must give back, and what the last stage needs of the first.

Between stages go frozen values; this is what must outlive them, so that a request that ends anywhere (refused, broken,
its client gone) can be settled.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

import msgspec

from trimtab.core import images
from trimtab.core.decision import Allowed, Features, Plan, Value
from trimtab.core.ledger import Ledger
from trimtab.core.money import Price, Usage
from trimtab.core.record import Record
from trimtab.core.request import Body, EmbeddingTerms, Message
from trimtab.core.rows import PlanRow
from trimtab.core.tenancy import KeyEntry
from trimtab.dataplane.admission import Ending, Foreseen, Ticket
from trimtab.dataplane.cache import Entry, Flight
from trimtab.dataplane.guard import OutScreen
from trimtab.dataplane.guard.grounded import Checker, Quote
from trimtab.dataplane.inference import Answering, Belief, Placed, Tries
from trimtab.dataplane.ingress import Bound
from trimtab.dataplane.plane import Configuration, DataPlane, Reply
from trimtab.dataplane.policy import contract_values, feature_values
from trimtab.dataplane.resume import Resuming
from trimtab.dataplane.retrieval import Corpus, Retrieved
from trimtab.dataplane.spend import Lease, Meter, Tokens, Used


class Template(msgspec.Struct, frozen=True):
    """A deterministic answer in place of a model's."""

    name: str
    finish_reason: str


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What `fulfil` works through: plans, best first, each with its row in the record."""

    bound: Bound
    body: Body
    allowed: Allowed
    plans: tuple[Plan, ...]
    rows: tuple[PlanRow, ...]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Vectors, of texts that are screened."""

    bound: Bound
    texts: tuple[str, ...]
    terms: EmbeddingTerms


class Run:
    """See the module. `configuration` is the one that the request began with, whatever is loaded meanwhile."""

    def __init__(self, ledger: Ledger, reply: Reply, plane: DataPlane) -> None:
        self.ledger, self.reply, self.plane = ledger, reply, plane
        self.configuration: Configuration = plane.configuration
        # found out on the way, in this order
        self.entry: KeyEntry | None = None
        self.body: Body | None = None
        self.bound: Bound | None = None
        self.screened = False
        """The guard of the way in has seen the body."""
        self.prompt_bound = 0
        self.charges: list[Used] = []
        self.charged_tokens = 0
        self.placeholders: tuple[tuple[str, str], ...] = ()
        self.guards_out: tuple[str, ...] = ()
        self.values: dict[str, Value | None] = {}
        self.lookup = plane.lookup(plane.configuration)
        self.stored: Entry | None = None
        self.plan: Plan | None = None
        self.sent: tuple[Message, ...] = ()
        self.retrieved: Retrieved | None = None
        self.checker: Checker | None = None
        """Of what was retrieved."""
        self.sentences: tuple[str, ...] = ()
        """Of the passages shown, where the answer must be one of them."""
        self.quote: Quote | None = None
        """What stands in for an answer that its passages don't support."""
        self.border: tuple[tuple[str, str], ...] = ()
        """Placeholders of what left the residency, with what they stand for."""
        self.back: OutScreen | None = None
        """Puts that back into the answer, before anything else reads it."""
        self.belief: Belief | None = None
        """What replicas hold of the prompt, where there are several to choose from."""
        self.placed: Placed | None = None
        """Where it went."""
        self.template: str | None = None
        """Name of the template that was given in an answer's place."""
        self.prices: dict[str, Price | None] = {}
        """Of every variant that was asked, by its id."""
        self.usage: Usage | None = None
        self.whole: dict[str, Any] | None = None
        """The upstream's whole answer, as it may be stored."""
        # held
        self.flight: Flight | None = None
        self.ticket: Ticket | None = None
        self.lease: Lease | None = None
        self.meter: Meter | None = None
        """Of the attempt that runs, where a budget pays for it."""
        self.tokens: Tokens | None = None
        """Of the pool that the request has left its residency for."""
        self.outside = 0
        """The first attempt that these pay for."""
        self.answering: Answering | None = None
        # how far the answer is
        self.tries = Tries(plane.retries)
        self.foreseen: Foreseen | None = None
        """Of the plan that is asked, when it was."""
        self.screen: OutScreen | None = None
        """Of a live answer, whoever writes it."""
        self.resuming: Resuming | None = None
        """What has come of it, where another may go on with it."""
        self.before: Usage | None = None
        """What the attempts used whose answer was gone on with."""
        self.shadowed = False
        """Its shadows have been launched, or need not be."""
        self.started = False
        self.cut = False
        """The answer was ended where its money did."""
        self.settled = False
        self.drift_nanousd = 0
        """What the upstream's own count cost beyond the lease."""
        self._infer_ns: int | None = None
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.gaps_ms = array("d")
        """8 bytes each: a list of floats takes four times as much, for as long as somebody reads."""
        self.top: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None
        """Fields beside the choices of text events: the upstream's, and ours in their place."""

    @property
    def record(self) -> Record:
        return self.ledger.record

    @property
    def corpus(self) -> Corpus | None:
        """The channel's corpus, if it has one whose index is ready."""
        name = self.bound.channel.corpus if self.bound is not None else None
        return self.configuration.corpora.get(name) if name is not None else None

    @property
    def language(self) -> str | None:
        """Of the question, as classified; None where nobody knows."""
        features = self.record.features
        known = features.language if features is not None else None
        return str(known.value) if known is not None and known.value else None

    @property
    def is_live(self) -> bool:
        """Whether pieces of a model's answer leave as they come; else none does before all of it is there."""
        contract = self.bound.contract if self.bound is not None else None
        streams = self.body is not None and self.body.stream
        return streams and contract is not None and contract.emit == "token" and contract.resume != "hold"

    def begin_infer(self) -> None:
        """Stage 11 begins: asking the model, and taking its answer for as long as it comes."""
        self._infer_ns = self.ledger.clock.now_ns()

    def book_infer(self, *, ended: bool = True) -> None:
        """Book stage 11 up to now; `ended`: for good. Before headers leave they can so say what it took until then."""
        if self._infer_ns is not None:
            now = self.ledger.clock.now_ns()
            self.ledger.spent("infer", self._infer_ns, now)
            self._infer_ns = None if ended else now

    def end_ticket(self, how: Ending) -> None:
        ticket, self.ticket = self.ticket, None
        if ticket is not None:
            ticket.end(how)

    def note_written(self) -> None:
        """How much of the answer has come: the gate learns by it. Of a whole one nobody saw when it was written."""
        if self.ticket is not None and self.answering is not None and not self.answering.is_whole:
            self.ticket.wrote(self.answering.produced.pieces)

    def end_flight(self) -> None:
        flight, self.flight = self.flight, None
        if flight is not None:
            flight.end()

    def close_upstream(self) -> None:
        """The upstream sees the hang-up in this turn of the loop."""
        if self.answering is not None:
            self.answering.close()

    def mark_content(self, events: int = 1) -> None:
        """So many events with content leave for the client now: the first is TTFT, the gaps between are inter-token
        times."""
        now = self.ledger.clock.now_ns()
        if self.last_ns is None:
            self.first_ns = now
        else:
            self.gaps_ms.append((now - self.last_ns) / 1e6)
        if events > 1:
            self.gaps_ms.extend([0.0] * (events - 1))
        self.last_ns = now


def request_values(
    bound: Bound, body: Body, features: Features, prompt_tokens: int, route: str
) -> dict[str, Value | None]:
    """What every rule may read of a request, under the names of the policy's table; None is unknown."""
    contract = bound.contract
    return {
        "tenant": bound.tenant.id,
        "channel": bound.name,
        "route": route,
        "persona": bound.persona,
        "market": bound.entry.key.market,
        **contract_values(contract),
        "stream": body.stream,
        "has_tools": body.has_tools,
        "has_format": body.has_format,
        "n": body.n,
        "prompt_tokens": prompt_tokens,
        "images": images.count(body.messages) if body.images else 0,
        "turns": len(body.messages),
        "cache_unclassified": bound.channel.cache.unclassified == "allow",
        **feature_values(features),
    }
