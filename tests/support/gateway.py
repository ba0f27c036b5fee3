"""The whole gateway in one loop: real front door, pipeline and upstream client over scripted upstreams, on any loop.

    async with Gateway(folder, small=up.url) as gateway:
        answer = await gateway.ask("Hello")
        ... answer.json["choices"] ... gateway.records[-1].attempts ...
        gateway.assert_nothing_held()

The workspace is a folder of documents as a user writes them; `edit` changes it before it is loaded.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from support.frontdoor import clock
from support.rawhttp import RawAnswer, RawClient
from trimtab.controlplane.metrics import Counts
from trimtab.controlplane.records import JournalState
from trimtab.controlplane.registry import load
from trimtab.controlplane.slo import Counted, objectives
from trimtab.core.errors import Code
from trimtab.core.ids import ClockIds, Ids
from trimtab.core.keys import hash_key, key_id, make
from trimtab.core.record import Record
from trimtab.dataplane import wiring
from trimtab.dataplane.classify import Classifier
from trimtab.dataplane.inference import Dialer
from trimtab.dataplane.inference.adapters import Http1Dialer
from trimtab.dataplane.spend import Level, Place
from trimtab.foundations.embed import HashEmbedder
from trimtab.foundations.tokens import RatioEstimator
from trimtab.surfaces.credentials import Keyring
from trimtab.surfaces.ladder import Ladder
from trimtab.surfaces.lag import Lag
from trimtab.surfaces.memory import Bound
from trimtab.surfaces.metrics import Metrics, Parts, declared
from trimtab.surfaces.overload import MOST_REQUESTS, Overload
from trimtab.surfaces.presence import Presence
from trimtab.surfaces.replicas import replicas_of
from trimtab.surfaces.server import HttpLimits, HttpRequest, Listener
from trimtab.surfaces.server.app import public
from trimtab.surfaces.server.scrape import Scrape
from trimtab.surfaces.sinks import Sinks
from trimtab.surfaces.traces import open_traces
from trimtab.surfaces.twin import VirtualLoop

SECRET = bytes(range(32))
KEY = make("test", lambda count: bytes(range(count)))
"""The key of tenant `shop`, default channel `web`."""
OTHER_KEY = make("test", lambda count: bytes(range(100, 100 + count)))
"""The key of tenant `other`, default channel `desk`."""

_QUOTES = (
    "quote: 'It says: {quote} ({source})'\nout_of_scope: That is not ours to answer.\nhandover: A person takes over.\n"
)
_DOCUMENTS = {
    "trimtab.yaml": "demo: false\nserver: {max_body_bytes: 8388608}\n",
    "models.yaml": """
models:
  small: {endpoint: "SMALL/v1", tier: S, context: 8192, slots: 4, api_key: "file:upstream.key", private: true}
  medium: {endpoint: "MEDIUM/v1", tier: M, context: 16384, slots: 2, api_key: "file:upstream.key", private: true}
variants:
  small-plain: {model: small, prompt: brief, max_tokens: 200}
  medium-plain: {model: medium, prompt: brief, max_tokens: 400}
aliases: {gpt-4o: auto, gpt-4o-mini: "tier:S"}
""",
    "prices.yaml": """
small: {input_usd_per_mtok: "1", output_usd_per_mtok: "4", cached_usd_per_mtok: "0.1"}
medium: {input_usd_per_mtok: "3", output_usd_per_mtok: "12", cached_usd_per_mtok: "0.3"}
""",
    "prompts/brief.md": "Answer briefly.\n",
    "templates/en.yaml": "refusal: I can't help with that.\nunavailable: Not right now, please try again.\n" + _QUOTES,
    "templates/de.yaml": "refusal: Das geht hier nicht.\nunavailable: Gerade nicht, bitte erneut versuchen.\n"
    + _QUOTES,
    "tenants/shop.yaml": """
id: shop
languages: [en, de]
priority: interactive
personas: [vip]
markets: [de]
limits: {requests: {per_s: 1000, burst: 1000}, tokens: {per_s: 1000000, burst: 10000000}}
budgets: [{period: day, usd: "10"}]
channels:
  web:
    targets:
      latency: {ttft_ms: 1000, itl_ms: 200, e2e_ms: 4000}
      quality: {min: 0}
    cost: {max_per_request_usd: "0.05"}
    tiers: [S, M]
    cache: {reuse: true, unclassified: allow}
    guards: {checks_in: [email], checks_out: [deny], deny: ["secret sauce"]}
    pin: ["tier:S", "tier:M", medium-plain]
    baseline: medium-plain
    personas: {vip: {latency: {e2e_ms: 2000}}}
  fresh:
    targets:
      latency: {ttft_ms: 1000, itl_ms: 200, e2e_ms: 4000}
      quality: {min: 0}
    cost: {max_per_request_usd: "0.05"}
    tiers: [S, M]
keys: [{id: KEY_ID, name: test, sha256: KEY_HASH, last4: KEY_LAST, default_channel: web, market: de}]
""",
    "tenants/other.yaml": """
id: other
channels:
  desk:
    targets:
      latency: {ttft_ms: 1000, itl_ms: 200, e2e_ms: 4000}
      quality: {min: 0}
    cost: {max_per_request_usd: "0.05"}
    tiers: [S, M]
    cache: {reuse: true, unclassified: allow}
keys: [{id: KEY_ID, name: test, sha256: KEY_HASH, last4: KEY_LAST, default_channel: desk}]
""",
    "upstream.key": "sk-upstream-0123456789abcdef\n",
}
EXAMPLE_POLICY = (
    Path(__file__).parent.parent.parent / "src/trimtab/controlplane/registry/example/policy.yaml"
).read_text()

Edit = Callable[[dict[str, str]], None]


def replaced(file: str, old: str, new: str) -> Edit:
    """An edit that replaces a text which must be there."""

    def edit(documents: dict[str, str]) -> None:
        assert old in documents[file], f"{old!r} is not in {file}"
        documents[file] = documents[file].replace(old, new)

    return edit


def write_workspace(folder: Path, small: str, medium: str, *edits: Edit) -> Path:
    """Documents of two tenants and two tiers on these upstreams; the policy is the example's."""
    documents = {**_DOCUMENTS, "policy.yaml": EXAMPLE_POLICY}
    for edit in edits:
        edit(documents)
    documents["models.yaml"] = documents["models.yaml"].replace("SMALL", small).replace("MEDIUM", medium)
    for file, key in (("tenants/shop.yaml", KEY), ("tenants/other.yaml", OTHER_KEY)):
        text = documents[file].replace("KEY_ID", key_id(hash_key(key))).replace("KEY_HASH", f'"{hash_key(key)}"')
        documents[file] = text.replace("KEY_LAST", f'"{key[-4:]}"')
    for file, text in documents.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "var").mkdir(exist_ok=True)
    (folder / "var" / "secret").write_bytes(SECRET)
    return folder


def closed_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Sink:
    """A RecordSink that keeps rows, and wakes who waits for them."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._changed = asyncio.Event()

    def write(self, record: Record) -> None:
        self.records.append(record)
        self._changed.set()

    async def reached(self, count: int) -> None:
        while len(self.records) < count:
            self._changed.clear()
            await self._changed.wait()


class Gateway:
    """See the module. `small` and `medium`: base URLs of the tiers' upstreams; None: nobody listens there."""

    def __init__(
        self,
        folder: Path,
        small: str | None = None,
        medium: str | None = None,
        *edits: Edit,
        cache_bytes: int = 1 << 20,
        metrics_key: str | None = None,
        memory: Sequence[Bound] = (),
        most_requests: int = MOST_REQUESTS,
        dialer: Dialer | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self._environ = folder, environ or {}
        self._upstreams = [url or f"http://127.0.0.1:{closed_port()}" for url in (small, medium)]
        self._edits = edits
        self._cache_bytes, self._metrics_key = cache_bytes, metrics_key
        self._memory, self._most_requests = memory, most_requests
        self._dialer = dialer
        self.sink = Sink()
        self.errors: list[BaseException] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        time = clock()
        workspace = load(write_workspace(self.folder, *self._upstreams, *self._edits), time)
        ids: Ids = loop.ids if isinstance(loop, VirtualLoop) else ClockIds(time, 7)
        counters = {name: RatioEstimator() for name in workspace.snapshot.release.models}
        embedder = HashEmbedder()
        classifier = Classifier(time, embedder)
        prepared = await classifier.prepare(workspace.snapshot.tenancy.tenants)
        self.counts = Counts(lambda: declared(self.plane.configuration, embedder.name), time)
        telemetry = workspace.settings.telemetry
        self.traces = open_traces(telemetry, self.folder, 0, time, self.counts.exemplar)
        self.presence = Presence(time, ids, lambda: self.plane.configuration.snapshot.tenancy)
        counted = Counted(objectives(workspace.snapshot.tenancy, workspace.slo))
        sink = Sinks(self.sink, self.counts, counted, self.presence, *([] if self.traces is None else [self.traces]))
        self.presence.sink = sink
        self.plane = wiring.build(
            clock=time,
            ids=ids,
            sink=sink,
            dialer=self._dialer or Http1Dialer(),
            configuration=wiring.configure(workspace.snapshot, counters, prepared),
            secret=SECRET,
            cache_bytes=self._cache_bytes,
            embedder=embedder,
            classifier=classifier,
            telemetry=telemetry,
        )
        self.keyring = Keyring(time, self.plane.dialer, self._environ)
        found = replicas_of(workspace.snapshot.release.models, {}, self.folder, self.keyring)
        wiring.set_fleet(self.plane, found)
        limits = HttpLimits(max_body_bytes=workspace.settings.server.max_body_bytes)
        journal = JournalState(seq=0, durable=0, waiting=0, lost=0, failing=None)
        parts = Parts(self.plane, lambda: journal, list, list, lambda: 0, lambda: 0)
        self.lag, self.ladder = Lag(time), Ladder(time, self._memory, lambda step: None)
        parts.memory, parts.judged = self.ladder.text, counted.pieces
        if self.traces is not None:
            parts.traces = self.traces.state
        overload = Overload(self.ladder, self.lag, lambda: self.listener.active, self._turned_away, self._most_requests)
        self.metrics = Metrics(self.counts, self.lag, parts, time)
        scrape = Scrape(self.metrics.text, self._metrics_key)
        self.plane.recorded = self._record
        self.listener = Listener(public(self.plane, scrape, overload), time, limits, self._note)
        await self.listener.start()
        self.port = self.listener.port
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.listener.close()
        await self.plane.aside.stop()
        self.keyring.close()
        await self.plane.dialer.close()
        if self.traces is not None:
            await self.traces.close()
        if kind is None:
            self.assert_nothing_held()
            assert not self.errors, self.errors

    async def _record(self, record_id: str) -> Record | None:
        return next((row for row in self.records if row.id == record_id), None)

    def _turned_away(self, code: Code, http: HttpRequest) -> None:
        self.counts.refused(code)
        self.presence.refused(code, http)

    def _note(self, request: HttpRequest | None, error: BaseException) -> None:
        if request is not None and not isinstance(error, asyncio.CancelledError):
            self.errors.append(error)

    @property
    def records(self) -> list[Record]:
        return self.sink.records

    @property
    def last(self) -> Record:
        return self.sink.records[-1]

    async def ask(self, content: str | list[dict[str, Any]] = "Hello", *headers: str, **fields: Any) -> RawAnswer:
        """One chat request of the shop's key, its whole answer."""
        async with RawClient(self.port) as client:
            client.send(chat(content, *headers, **fields))
            return await client.answer()

    def assert_nothing_held(self) -> None:
        """No token taken, nothing reserved, no flight open, no upstream request running."""
        gates = {**self.plane.gates.views(), "embedder": self.plane.embedding_gate.view()}
        for name, view in gates.items():
            assert (view.free, view.waiting) == (view.slots, 0), f"{name}: {view}"
        for place, level in self.levels():
            assert level.reserved == 0, (place, level)
        for views in self.plane.fleet.views().values():
            assert all(view.running == 0 for view in views), views
        assert " 0 making" in repr(self.plane.cache) or "making" not in repr(self.plane.cache), self.plane.cache

    def settled_nanousd(self, name: str = "shop") -> int:
        """What the tenant's day budget says was spent."""
        return sum(level.settled for place, level in self.levels() if name in place.account.scope)

    def levels(self) -> list[tuple[Place, Level]]:
        """Every declared budget, as it stands now."""
        tenancy = self.plane.configuration.snapshot.tenancy
        places = self.plane.budgets.places(tenancy)
        levels = self.plane.store.glance(places)
        assert levels is not None, "only a store in this process tells at once"
        return list(zip(places, levels, strict=True))


def chat(content: str | list[dict[str, Any]] = "Hello", *headers: str, key: str = KEY, **fields: Any) -> bytes:
    """The bytes of a chat request. A list is the whole conversation."""
    messages = content if isinstance(content, list) else [{"role": "user", "content": content}]
    body = msgspec.json.encode({"messages": messages, **fields})
    return post(body, *headers, key=key)


def post(body: bytes, *headers: str, key: str | None = KEY, path: str = "/v1/chat/completions") -> bytes:
    """The bytes of a POST with any body."""
    lines = [f"POST {path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}", "Content-Type: application/json"]
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def events(body: bytes) -> list[Any]:
    """The data of each event of a stream, parsed; `[DONE]` as text."""
    found: list[Any] = []
    for block in body.split(b"\n\n"):
        if block.startswith(b"data: "):
            data = block[6:]
            found.append("[DONE]" if data == b"[DONE]" else msgspec.json.decode(data))
    return found


def text_of(body: bytes) -> str:
    """What a stream's first choice says."""
    chunks = [event for event in events(body) if isinstance(event, dict) and event.get("choices")]
    parts = [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]
    return "".join(parts)
