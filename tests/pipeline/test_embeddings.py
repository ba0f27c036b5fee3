"""`POST /v1/embeddings` through the real pipeline: the same key, contract, guards, limits, money and record as chat."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from support.gateway import OTHER_KEY, Gateway, post, replaced
from support.rawhttp import RawAnswer, RawClient, request
from trimtab.controlplane.records import explain
from trimtab.dataplane.plane import EMBEDDING_SLOTS
from trimtab.foundations.embed import MAX_CHARACTERS, HashEmbedder, Vectors
from trimtab.surfaces.server.embeddings import MOST_CHARACTERS, MOST_INPUTS
from trimtab.surfaces.twin import run_virtual

PATH = "/v1/embeddings"
NAME = "hash-256"
TEXTS = ["good morning", "guten Morgen, Welt", "早上好"]
STAGES = ["ingress", "body", "bind", "guard_in", "admit", "reserve", "infer", "settle"]
ADDRESS = "very.private@person.example"
MTOK_PRICE = f'\n{NAME}: {{input_usd_per_mtok: "20", output_usd_per_mtok: "0"}}\n'
PRICE = 20_000
"""Nano-dollars a token at that price."""


class Scripted(HashEmbedder):
    """Says what it was asked and when it was left, and waits where the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, list[str]]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.left = 0
        self.fault: Exception | None = None
        """Raised once."""

    async def queries(self, texts: Sequence[str]) -> Vectors:
        await self._turn("query", texts)
        return await super().queries(texts)

    async def passages(self, texts: Sequence[str]) -> Vectors:
        await self._turn("passage", texts)
        return await super().passages(texts)

    async def _turn(self, kind: str, texts: Sequence[str]) -> None:
        self.asked.append((kind, list(texts)))
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.left += 1
            raise
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault

    async def reached(self, count: int) -> None:
        await until(lambda: len(self.asked) >= count)


def scripted(gateway: Gateway) -> Scripted:
    """Put in place of the gateway's embedder."""
    gateway.plane.embedder = embedder = Scripted()
    return embedder


def priced(monkeypatch: pytest.MonkeyPatch, **budget: str) -> list[Any]:
    """Edits that give the tests' embedder a price; `check` knows the live one's name only."""
    monkeypatch.setattr("trimtab.controlplane.registry.checks.models.NANO", NAME)

    def price(documents: dict[str, str]) -> None:
        documents["prices.yaml"] += MTOK_PRICE

    return [price, *([replaced("tenants/shop.yaml", 'usd: "10"', f'usd: "{budget["usd"]}"')] if budget else [])]


def asking(value: Any, *headers: str, key: str | None = None, **fields: Any) -> bytes:
    """The bytes of a request for vectors."""
    body = msgspec.json.encode({"input": value, **fields})
    return post(body, *headers, path=PATH, **({} if key is None else {"key": key}))


async def ask(gateway: Gateway, value: Any, *headers: str, key: str | None = None, **fields: Any) -> RawAnswer:
    """One request, its whole answer."""
    async with RawClient(gateway.port, limit=1 << 24) as client:
        client.send(asking(value, *headers, key=key, **fields))
        return await client.answer()


async def waiting(gateway: Gateway, count: int) -> None:
    await until(lambda: gateway.plane.embedding_gate.view().waiting >= count)


async def until(done: Callable[[], bool]) -> None:
    """Soon, or a failure: nothing here takes more turns of the loop than this."""
    for _ in range(10_000):
        if done():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come to pass")


def code(answer: RawAnswer) -> tuple[int, str]:
    return answer.status, answer.json["error"]["code"]


# --- the answer


def test_the_vectors_are_the_embedders_own_in_either_form(tmp_path: Path) -> None:
    """One row a text, in order; numbers and little-endian float32 in base64 say the same to the bit."""

    async def main() -> None:
        async with Gateway(tmp_path) as gateway:
            own = await gateway.plane.embedder.queries(TEXTS)
            plain = await ask(gateway, TEXTS, model=NAME)
            packed = await ask(gateway, TEXTS, model="auto", encoding_format="base64")
            for got in (plain, packed):
                assert got.status == 200, got.body
                assert (got.json["object"], got.json["model"]) == ("list", NAME)
                assert [(row["object"], row["index"]) for row in got.json["data"]] == [
                    ("embedding", index) for index in range(3)
                ]
                assert got.json["usage"] == {"prompt_tokens": 6, "total_tokens": 6}
            assert np.array_equal(np.array([row["embedding"] for row in plain.json["data"]], np.float32), own)
            rows = [np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in packed.json["data"]]
            assert np.array_equal(rows, own)
            single = await ask(gateway, TEXTS[1])
            assert single.json["data"][0]["embedding"] == plain.json["data"][1]["embedding"]

    run_virtual(main)


def test_the_head_and_the_record_say_what_a_chats_say(tmp_path: Path) -> None:
    """Record id, path, cost, times and rates; one row with stages, tokens, cost and outcome, and nothing saved."""

    async def main() -> None:
        async with Gateway(tmp_path) as gateway:
            got = await ask(gateway, TEXTS, "trimtab-latency-ms: 1000", user="ann")
            record = gateway.last
            assert len(gateway.records) == 1
            assert got.headers["trimtab-record"] == got.headers["x-request-id"] == record.id
            assert (got.headers["trimtab-path"], got.headers["trimtab-variant"]) == ("direct", NAME)
            assert got.headers["trimtab-cost-usd"] == "0"
            assert [part.partition(";")[0] for part in got.headers["server-timing"].split(", ")] == STAGES[:-1]
            assert int(got.headers["x-ratelimit-remaining-tokens"]) == 10_000_000 - 6
            assert got.json["trimtab"]["record"] == record.id
            assert list(record.stages) == STAGES
            assert (record.route, record.tenant, record.channel) == (PATH, "shop", "web")
            assert (record.status, record.code, record.path, record.variant) == (200, None, "direct", NAME)
            assert (record.tokens.prompt, record.tokens.completion, record.tokens.source) == (6, 0, "counted")
            assert (record.cost.settled_nanousd, record.cost.baseline_nanousd) == (0, None)
            assert [attempt.outcome for attempt in record.attempts] == ["success"]
            assert (record.met.latency, record.met.cost, record.stream) == (True, True, False)
            assert record.contract is not None
            assert record.contract.latency.e2e_ms == 1000
            assert gateway.plane.stages["infer"] == 1
            assert explain(record).header.path == "direct"

    run_virtual(main)


def test_questions_and_passages_are_told_apart(tmp_path: Path) -> None:
    """OpenAI's request has no word for it: a question unless `input_type` says that it is a passage."""

    async def main() -> None:
        async with Gateway(tmp_path) as gateway:
            embedder = scripted(gateway)
            for extra in ({}, {"input_type": "query"}, {"input_type": "passage"}):
                assert (await ask(gateway, "a b", **extra)).status == 200
            assert embedder.asked == [("query", ["a b"]), ("query", ["a b"]), ("passage", ["a b"])]

    run_virtual(main)


def test_the_longest_list_comes_back_whole_and_in_order(tmp_path: Path) -> None:
    """2048 inputs, in one call of the embedder; one more is refused."""
    texts = [f"text number {index}" for index in range(MOST_INPUTS)]

    async def main() -> None:
        async with Gateway(tmp_path) as gateway:
            embedder = scripted(gateway)
            got = await ask(gateway, texts, encoding_format="base64")
            assert got.status == 200
            data = b"".join(base64.b64decode(row["embedding"]) for row in got.json["data"])
            assert data == (await HashEmbedder().queries(texts)).astype("<f4").tobytes()
            assert len(embedder.asked) == 1
            assert code(await ask(gateway, [*texts, "x"])) == (400, "invalid_request")

    run_virtual(main)


def test_the_models_name_the_embedder(tmp_path: Path) -> None:
    """In the list and by itself."""

    async def main() -> None:
        async with Gateway(tmp_path) as gateway, RawClient(gateway.port) as client:
            key = post(b"").decode().partition("Authorization: ")[2].partition("\r\n")[0]
            client.send(request("GET", "/v1/models", b"", f"Authorization: {key}"))
            names = [row["id"] for row in (await client.answer()).json["data"]]
            assert names[0] == "auto"
            assert names[-1] == NAME
            client.send(request("GET", f"/v1/models/{NAME}", b"", f"Authorization: {key}"))
            assert (await client.answer()).json["id"] == NAME

    run_virtual(main)


# --- the guard


def test_nothing_unredacted_reaches_the_embedder_a_log_or_a_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A placeholder stands for an address, the same one throughout the request; the user's name is only an HMAC."""

    async def main() -> bytes:
        async with Gateway(tmp_path) as gateway:
            embedder = scripted(gateway)
            texts = [f"write to {ADDRESS}", f"{ADDRESS}, or x@y.example", "nothing here"]
            got = await ask(gateway, texts, user=ADDRESS, metadata={"note": ADDRESS})
            assert got.status == 200
            assert embedder.asked == [("query", ["write to <EMAIL_1>", "<EMAIL_1>, or <EMAIL_2>", "nothing here"])]
            guard = gateway.last.guards[0]
            assert (guard.stage, guard.check, guard.hits, guard.action) == ("in", "email", 3, "redacted")
            embedder.fault = RuntimeError("engine trouble")
            assert code(await ask(gateway, f"again {ADDRESS}")) == (500, "internal_error")
            return msgspec.json.encode(gateway.records)

    with caplog.at_level(logging.DEBUG):
        records = run_virtual(main)
    assert ADDRESS.encode() not in records
    assert "engine trouble" in caplog.text
    assert ADDRESS not in caplog.text


# --- what is refused

FIELDS: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "no input": ({"input": None}, 400, "invalid_request", "input"),
    "an empty text": ({"input": ""}, 400, "invalid_request", "input"),
    "an empty list": ({"input": []}, 400, "invalid_request", "input"),
    "an empty text in a list": ({"input": ["a", ""]}, 400, "invalid_request", "input[1]"),
    "a null in a list": ({"input": ["a", None]}, 400, "invalid_request", "input[1]"),
    "an object": ({"input": {"text": "a"}}, 400, "invalid_request", "input"),
    "token ids": ({"input": [1, 2, 3]}, 400, "invalid_request", "input"),
    "lists of token ids": ({"input": [[1, 2], [3]]}, 400, "invalid_request", "input"),
    "texts and token ids": ({"input": ["a", [3]]}, 400, "invalid_request", "input"),
    "a long text": ({"input": ["a", "x" * (MAX_CHARACTERS + 1)]}, 400, "context_length_exceeded", "input"),
    "too much in all": ({"input": ["x" * 1500] * (MOST_CHARACTERS // 1500 + 1)}, 400, "invalid_request", "input"),
    "an unknown form": ({"encoding_format": "int8"}, 400, "invalid_request", "encoding_format"),
    "a form that is a number": ({"encoding_format": 4}, 400, "invalid_request", "encoding_format"),
    "other dimensions": ({"dimensions": 128}, 400, "invalid_request", "dimensions"),
    "dimensions as a text": ({"dimensions": "256"}, 400, "invalid_request", "dimensions"),
    "an unknown kind": ({"input_type": "document"}, 400, "invalid_request", "input_type"),
    "a name of OpenAI's": ({"model": "text-embedding-3-small"}, 404, "model_not_found", "model"),
    "a chat model": ({"model": "medium-plain"}, 404, "model_not_found", "model"),
    "an alias of chat's": ({"model": "gpt-4o"}, 404, "model_not_found", "model"),
    "a model that is a number": ({"model": 3}, 400, "invalid_request", "model"),
    "a user that is a number": ({"user": 3}, 400, "invalid_request", "user"),
    "a field that nobody knows": ({"truncate": "END"}, 400, "invalid_request", "truncate"),
    "an unknown contract term": ({"trimtab": {"latncy_ms": 5}}, 400, "invalid_contract", "trimtab.latncy_ms"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_what_cannot_be_embedded_is_refused_by_name(name: str, tmp_path: Path) -> None:
    """OpenAI's error shape, an existing code, the field at fault; a record, and the embedder is not asked."""
    fields, status, wire, param = FIELDS[name]

    async def main() -> None:
        async with Gateway(tmp_path) as gateway:
            embedder = scripted(gateway)
            got = await ask(
                gateway, **{"value": "a", **{("value" if k == "input" else k): v for k, v in fields.items()}}
            )
            assert code(got) == (status, wire), got.body
            assert (got.json["error"]["param"], got.json["error"]["trimtab"]["code"]) == (param, wire)
            assert got.headers["x-request-id"] == gateway.last.id == got.json["error"]["trimtab"]["record"]
            assert (gateway.last.status, gateway.last.code, gateway.last.path) == (status, wire, "refused")
            assert embedder.asked == []

    run_virtual(main)


def test_what_is_at_a_bound_is_taken(tmp_path: Path) -> None:
    """The longest text, the model's own size, and a body that says null where it means nothing."""

    async def main() -> None:
        async with Gateway(tmp_path) as gateway:
            assert (await ask(gateway, "x" * MAX_CHARACTERS, dimensions=256)).status == 200
            nulls = {"model": None, "encoding_format": None, "dimensions": None, "user": None, "input_type": None}
            assert (await ask(gateway, "x", **nulls)).status == 200

    run_virtual(main)


def test_a_text_is_measured_as_the_embedder_would_get_it(tmp_path: Path) -> None:
    """A placeholder can be longer than what it stands for: the end of such a text would be lost in silence."""

    async def main() -> None:
        async with Gateway(tmp_path) as gateway:
            text = "x" * (MAX_CHARACTERS - 9) + " a@b.com."
            assert len(text) == MAX_CHARACTERS
            assert code(await ask(gateway, text)) == (400, "context_length_exceeded")

    run_virtual(main)


def test_keys_channels_and_methods_are_chats(tmp_path: Path) -> None:
    """No key, a foreign channel, a channel by header, another method, broken JSON, a gateway that drains."""

    async def main() -> None:
        async with Gateway(tmp_path) as gateway, RawClient(gateway.port) as client:
            body = msgspec.json.encode({"input": "a"})
            client.send(post(body, key=None, path=PATH))
            assert code(await client.answer()) == (401, "missing_api_key")
            assert code(await ask(gateway, "a", "trimtab-channel: desk")) == (403, "channel_not_allowed")
            assert (await ask(gateway, "a", "trimtab-channel: fresh")).status == 200
            assert gateway.last.channel == "fresh"
            assert (await ask(gateway, "a", key=OTHER_KEY)).status == 200
            assert (gateway.last.tenant, gateway.last.channel) == ("other", "desk")
            client.send(request("GET", PATH))
            assert code(await client.answer()) == (405, "method_not_allowed")
            client.send(post(b'{"input": ', path=PATH))
            assert code(await client.answer()) == (400, "malformed_json")
            gateway.plane.draining = True
            assert code(await ask(gateway, "a")) == (503, "draining")

    run_virtual(main)


def test_a_channel_may_declare_targets_of_its_own_for_vectors(tmp_path: Path) -> None:
    """`routes` of a channel names this path, too."""
    edit = replaced(
        "tenants/shop.yaml", "    baseline:", f"    routes: {{{PATH}: {{latency: {{e2e_ms: 2500}}}}}}\n    baseline:"
    )

    async def main() -> None:
        async with Gateway(tmp_path, None, None, edit) as gateway:
            assert (await ask(gateway, "a")).status == 200
            assert gateway.last.contract is not None
            assert gateway.last.contract.latency.e2e_ms == 2500

    run_virtual(main)


# --- the gate and the deadline


def test_a_full_embedder_is_waited_for_within_the_contract(tmp_path: Path) -> None:
    """The third request waits for its time to first token, then is told when to come back; a slot that comes free goes
    to the most urgent of those who wait."""

    async def main() -> None:
        async with Gateway(tmp_path) as gateway:
            embedder = scripted(gateway)
            embedder.go.clear()
            loop = asyncio.get_running_loop()
            running = [asyncio.create_task(ask(gateway, f"n{index}")) for index in range(EMBEDDING_SLOTS)]
            await embedder.reached(EMBEDDING_SLOTS)
            began = loop.time()
            late = await ask(gateway, "late")
            assert code(late) == (429, "queue_full")
            assert int(late.headers["retry-after"]) >= 1
            assert loop.time() - began == pytest.approx(1.0, abs=0.05)
            assert list(gateway.last.stages) == [*STAGES[:5], "settle"]
            queue = []
            for name, headers in (("batch", ["trimtab-priority: batch"]), ("now", [])):
                queue.append(asyncio.create_task(ask(gateway, name, *headers)))
                await waiting(gateway, len(queue))
            embedder.go.set()
            assert {got.status for got in await asyncio.gather(*running, *queue)} == {200}
            assert [texts for _, texts in embedder.asked[EMBEDDING_SLOTS:]] == [["now"], ["batch"]]

    run_virtual(main)


@pytest.mark.parametrize(("on_miss", "waits_s"), [("refuse", 0.0), ("template", 1.0)])
def test_what_a_miss_means_for_vectors(on_miss: str, waits_s: float, tmp_path: Path) -> None:
    """`refuse` waits for nothing; a template would be words in place of numbers, so that too is a refusal."""
    edit = replaced("tenants/shop.yaml", "    baseline:", f"    on_miss: {on_miss}\n    baseline:")

    async def main() -> None:
        async with Gateway(tmp_path, None, None, edit) as gateway:
            embedder = scripted(gateway)
            embedder.go.clear()
            running = [asyncio.create_task(ask(gateway, f"n{index}")) for index in range(EMBEDDING_SLOTS)]
            await embedder.reached(EMBEDDING_SLOTS)
            began = asyncio.get_running_loop().time()
            assert code(await ask(gateway, "x")) == (429, "queue_full")
            assert asyncio.get_running_loop().time() - began == pytest.approx(waits_s, abs=0.05)
            embedder.go.set()
            await asyncio.gather(*running)

    run_virtual(main)


def test_the_deadline_ends_a_slow_embedder(tmp_path: Path) -> None:
    """504 at three times the end-to-end target; the embedder is left, the slot is free, the tokens count as used."""

    async def main() -> None:
        async with Gateway(tmp_path) as gateway:
            embedder = scripted(gateway)
            embedder.go.clear()
            began = asyncio.get_running_loop().time()
            got = await ask(gateway, "one two three", "trimtab-latency-ms: 500")
            assert code(got) == (504, "deadline_exceeded")
            assert asyncio.get_running_loop().time() - began == pytest.approx(1.5, abs=0.05)
            record = gateway.last
            assert (embedder.left, record.tokens.prompt, record.met.latency) == (1, 3, False)
            assert (record.attempts[0].outcome, record.attempts[0].reason) == ("dropped", "no vectors in time")
            gateway.assert_nothing_held()

    run_virtual(main)


# --- what is given back


@pytest.mark.parametrize("where", ["infer", "queue"])
def test_a_hang_up_releases_everything(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the queue or at the embedder: 499, no slot or money held, the embedder is left; what it was asked is paid."""

    async def main() -> None:
        async with Gateway(tmp_path, None, None, *priced(monkeypatch)) as gateway:
            embedder = scripted(gateway)
            embedder.go.clear()
            before = EMBEDDING_SLOTS if where == "queue" else 0
            running = [asyncio.create_task(ask(gateway, f"n{index}")) for index in range(before)]
            await embedder.reached(before)
            async with RawClient(gateway.port) as client:
                client.send(asking("one two three"))
                await (waiting(gateway, 1) if where == "queue" else embedder.reached(1))
                client.hang_up()
                await gateway.sink.reached(1)
            record = gateway.records[0]
            assert (record.status, record.code) == (499, "client_closed")
            asked = where == "infer"
            assert embedder.left == int(asked)
            assert record.tokens.prompt == (3 if asked else None)
            assert record.cost.settled_nanousd == (3 * PRICE if asked else 0)
            assert [attempt.reason for attempt in record.attempts] == (["cancelled"] if asked else [])
            view = gateway.plane.embedding_gate.view()
            assert (view.free, view.waiting) == (EMBEDDING_SLOTS - before, 0)
            embedder.go.set()
            await asyncio.gather(*running)
            gateway.assert_nothing_held()

    run_virtual(main)


def test_an_embedder_that_fails_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 in OpenAI's shape; slot, money and tokens are given back, and the next request is served."""

    async def main() -> None:
        async with Gateway(tmp_path, None, None, *priced(monkeypatch)) as gateway:
            embedder = scripted(gateway)
            embedder.fault = RuntimeError("no weights")
            got = await ask(gateway, TEXTS)
            assert code(got) == (500, "internal_error")
            assert b"weights" not in got.body
            record = gateway.last
            assert (record.attempts[0].outcome, record.attempts[0].reason) == ("dropped", "the embedder failed")
            assert (record.cost.settled_nanousd, gateway.settled_nanousd()) == (0, 0)
            gateway.assert_nothing_held()
            assert (await ask(gateway, TEXTS)).headers["x-ratelimit-remaining-tokens"] == str(10_000_000 - 6)

    run_virtual(main)


# --- money and rates


def test_a_price_under_the_embedders_name_is_charged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reserved and settled to the nano-dollar, on the tenant's budget, in record and header."""

    async def main() -> None:
        async with Gateway(tmp_path, None, None, *priced(monkeypatch)) as gateway:
            got = await ask(gateway, TEXTS)
            cost = gateway.last.cost
            assert (cost.estimate_nanousd, cost.reserved_nanousd, cost.settled_nanousd) == (6 * PRICE,) * 3
            assert gateway.settled_nanousd() == 6 * PRICE
            assert got.headers["trimtab-cost-usd"] == "0.00012"

    run_virtual(main)


def test_money_that_is_not_there_is_not_spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spent budget, one that others hold, a cap of the request: refused before the embedder is asked."""

    async def main() -> None:
        async with Gateway(tmp_path, None, None, *priced(monkeypatch, usd="0.0001")) as gateway:
            embedder = scripted(gateway)
            capped = await ask(gateway, "a b c", "trimtab-max-cost-usd: 0.00005")
            assert code(capped) == (429, "cost_cap")
            embedder.go.clear()
            first = asyncio.create_task(ask(gateway, "a b c"))
            await embedder.reached(1)
            assert code(await ask(gateway, "a b c")) == (429, "budget_busy")
            embedder.go.set()
            assert (await first).status == 200
            assert code(await ask(gateway, "a b c")) == (429, "budget_exhausted")
            assert (await ask(gateway, "a b")).status == 200
            assert len(embedder.asked) == 2
            assert gateway.settled_nanousd() == 5 * PRICE

    run_virtual(main)


def test_who_waits_for_money_holds_no_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its slot is free for others meanwhile; when the money comes it takes one again."""

    async def main() -> None:
        async with Gateway(tmp_path, None, None, *priced(monkeypatch, usd="0.0001")) as gateway:
            embedder = scripted(gateway)
            embedder.go.clear()
            gate, budgets = gateway.plane.embedding_gate, gateway.plane.budgets
            first = asyncio.create_task(ask(gateway, "a b c"))
            await embedder.reached(1)
            second = asyncio.create_task(ask(gateway, "a b c"))
            await until(lambda: "1 waiting" in repr(budgets))
            assert gate.view().free == EMBEDDING_SLOTS - 1
            embedder.fault = RuntimeError("its money comes free")
            embedder.go.set()
            embedder.go.clear()  # for the second one
            assert (await first).status == 500
            await embedder.reached(2)
            assert gate.view().free == EMBEDDING_SLOTS - 1
            embedder.go.set()
            assert (await second).status == 200
            assert gateway.settled_nanousd() == 3 * PRICE

    run_virtual(main)


def test_rates_are_charged_as_chat_charges_them(tmp_path: Path) -> None:
    """One request each; tokens by estimate, trued up at the end, so that a long text makes the next one wait."""
    edits = [
        replaced("tenants/shop.yaml", "requests: {per_s: 1000, burst: 1000}", "requests: {per_s: 1, burst: 2}"),
        replaced("tenants/shop.yaml", "tokens: {per_s: 1000000, burst: 10000000}", "tokens: {per_s: 10, burst: 200}"),
    ]

    async def main() -> None:
        async with Gateway(tmp_path, None, None, *edits) as gateway:
            got = await ask(gateway, "a " * 100)
            assert got.headers["x-ratelimit-remaining-tokens"] == "100"
            assert got.headers["x-ratelimit-remaining-requests"] == "1"
            busy = await ask(gateway, "a " * 200)  # 134 by estimate
            assert code(busy) == (429, "rate_limited")
            assert busy.json["error"]["trimtab"]["rule"] == "tenant shop tokens"
            assert (await ask(gateway, "a")).json["error"]["trimtab"]["rule"] == "tenant shop requests"
            await asyncio.sleep(30)
            large = await ask(gateway, "ab" * 900)
            assert code(large) == (400, "larger_than_limit")
            assert large.headers["x-ratelimit-limit-tokens"] == "200", "how much would fit"

    run_virtual(main)
