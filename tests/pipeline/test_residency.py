"""Requests stay in their residency, and overflow to approved pools: last, redacted, encrypted, within their tokens."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.gateway import Gateway, events, replaced, text_of
from support.rawhttp import RawAnswer
from support.regions import Pool, VirtualTls, pools, resident, server_tls, trusting
from support.upstream import EVENTS, Cut, Head, ScriptedUpstream, Seen, Step, chunk, failure, openai, stream, usage
from trimtab.dataplane import wiring
from trimtab.dataplane.retrieval import build, read_corpus
from trimtab.foundations.embed import HashEmbedder
from trimtab.surfaces.twin import run_virtual

MAIL = "anna.berg@example.com"
SAID = f"Write to {MAIL} please"
NO_GUARDS = replaced("tenants/shop.yaml", "checks_in: [email], ", "checks_in: [], ")


def https(up: ScriptedUpstream) -> str:
    return f"https://{up.host}:{up.port}"


def two(home: ScriptedUpstream, away: ScriptedUpstream, **terms: Any) -> Any:
    return pools(Pool("home", [home.url], "eu"), Pool("away", [https(away)], "us", ("eu",), **terms))


def busy(seen: Seen) -> list[Step]:
    return failure(503)


def outcomes(gateway: Gateway) -> dict[str, str | None]:
    return {row.variant.partition("@")[0]: row.outcome for row in gateway.last.plans}


def test_one_over_real_tls(tmp_path: Path) -> None:
    """Who is at home fails: the approved pool is asked over TLS, reads a placeholder, and the caller reads the
    address."""

    async def main() -> None:
        async with ScriptedUpstream(busy) as home, ScriptedUpstream(tls=server_tls()) as away:
            edits = (two(home, away), resident("eu"), NO_GUARDS)
            async with Gateway(tmp_path, None, None, *edits, dialer=trusting()) as gateway:
                answer = await gateway.ask(SAID)
                assert answer.status == 200
                assert answer.json["choices"][0]["message"]["content"] == f"echo {SAID}"
                assert away.requests[0].json["messages"][-1]["content"] == "Write to <EMAIL_1> please"
                assert MAIL.encode() not in away.requests[0].body
                assert [one.overflow for one in gateway.last.attempts] == [False, False, True]
                assert outcomes(gateway) == {"home-plain": "http 503", "away-plain": "taken"}

    asyncio.run(main())


def test_an_untrusted_certificate_ends_it(tmp_path: Path) -> None:
    """A pool whose certificate is nobody's is sent nothing."""

    async def main() -> None:
        async with ScriptedUpstream(busy) as home, ScriptedUpstream(tls=server_tls()) as away:
            async with Gateway(tmp_path, None, None, two(home, away), resident("eu")) as gateway:
                assert (await gateway.ask(SAID)).status == 502
                assert not away.requests
                assert outcomes(gateway)["away-plain"] == "no connection"

    asyncio.run(main())


class World:
    """A gateway in virtual time, with one model at home and one away."""

    def __init__(self, folder: Path, home: Any, away: Any, *edits: Any, **terms: Any) -> None:
        self.home, self.away = ScriptedUpstream(home), ScriptedUpstream(away)
        self._folder, self._edits, self._terms = folder, edits, terms

    async def __aenter__(self) -> World:
        await self.home.start()
        await self.away.start()
        edits = (two(self.home, self.away, **self._terms), resident("eu"), NO_GUARDS, *self._edits)
        self.gateway = await Gateway(self._folder, None, None, *edits, dialer=VirtualTls()).__aenter__()
        return self

    async def __aexit__(self, *told: Any) -> None:
        await self.gateway.__aexit__(*told)
        await self.home.stop()
        await self.away.stop()

    async def ask(self, content: Any = SAID, *headers: str, **fields: Any) -> RawAnswer:
        return await self.gateway.ask(content, *headers, temperature=1, **fields)


def test_it_stays_while_somebody_is_at_home(tmp_path: Path) -> None:
    """Whoever can be served at home is, cheaper pools or not; and a pool that is named by the caller is not asked
    either."""

    async def main() -> None:
        async with World(tmp_path, openai, openai) as world:
            assert (await world.ask()).status == 200
            assert list(outcomes(world.gateway).items()) == [("home-plain", "taken"), ("away-plain", None)]
            named = await world.ask(model="away")
            assert (named.status, named.json["error"]["code"]) == (403, "residency_not_allowed")
            assert not world.away.requests

    run_virtual(main)


def test_a_full_gate_overflows(tmp_path: Path) -> None:
    """Who finds no slot at home goes to the pool, once it has waited as long as it may."""

    async def main() -> None:
        async with World(tmp_path, lambda _: stream(["a"] * 9, usage(1, 9), delay_s=0.35), openai) as world:
            answers = await asyncio.gather(*[world.ask(stream=True) for _ in range(4)])
            assert [one.status for one in answers] == [200] * 4
            assert (len(world.home.requests), len(world.away.requests)) == (2, 2)
            assert all(MAIL.encode() not in seen.body for seen in world.away.requests)

    run_virtual(main)


@pytest.mark.parametrize("at", range(1, 9))
def test_a_streamed_answer_is_restored_however_it_is_cut(tmp_path: Path, at: int) -> None:
    """A placeholder in two chunks is the address again; usage and end come as from a model at home."""
    said = "To <EMAIL_1>!"
    cut = said.index("<") + at

    async def main() -> None:
        script = stream([said[:cut], said[cut:]], usage(5, 2))
        async with World(tmp_path, busy, lambda _: script) as world:
            answer = await world.ask(stream=True, stream_options={"include_usage": True})
            assert text_of(answer.body) == f"To {MAIL}!"
            assert events(answer.body)[-1] == "[DONE]"
            assert world.gateway.last.tokens.prompt == 5

    run_virtual(main)


def test_a_tools_arguments_are_restored(tmp_path: Path) -> None:
    """As the caller wrote them, in JSON too; and the pool sees no address in tools, metadata or names."""
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": '{"to": "<EMAIL_1>"}'}}
    tool = {"type": "function", "function": {"name": "f", "description": f"as {MAIL}", "parameters": {}}}

    async def main() -> None:
        steps = [Head(200, (EVENTS,)), chunk({"tool_calls": [call]}), chunk({}, "tool_calls")]
        async with World(tmp_path, busy, lambda _: steps) as world:
            answer = await world.ask(tools=[tool], user=MAIL, metadata={"a": MAIL})
            arguments = answer.json["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
            assert msgspec.json.decode(arguments) == {"to": MAIL}
            assert MAIL.encode() not in world.away.requests[0].body

    run_virtual(main)


@pytest.mark.parametrize("extra", [{"metadata": {MAIL: "x"}}, {"metadata": {"n": 4111111111111111}}])
def test_what_cannot_be_redacted_stays(tmp_path: Path, extra: dict[str, Any]) -> None:
    """Names of fields and numbers can't become placeholders, so a request that hides something there does not leave;
    the caller hears why nobody at home answered."""

    async def main() -> None:
        async with World(tmp_path, busy, openai) as world:
            assert (await world.ask("Hello", **extra)).status == 502
            assert not world.away.requests
            assert outcomes(world.gateway)["away-plain"] == "can't be redacted"

    run_virtual(main)


def test_an_image_stays(tmp_path: Path) -> None:
    """Nobody knows who is to be seen in it, so the approved pool, which takes images, is not sent it. At home it is."""
    pixel = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
    seen = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": pixel}}]}]
    takes = replaced("models.yaml", "context: 16384", "context: 16384, images: 500")
    allow = replaced("tenants/shop.yaml", "guards: {", "guards: {images: allow, ")

    async def main() -> None:
        async with World(tmp_path / "busy", busy, openai, takes, allow) as world:
            assert (await world.ask(seen)).status == 502
            assert not world.away.requests
            assert outcomes(world.gateway)["away-plain"] == "can't be redacted"
        async with World(tmp_path / "well", openai, openai, takes, allow) as world:
            assert (await world.ask(seen)).status == 200
            assert world.home.requests[0].json["messages"][-1:] == seen

    run_virtual(main)


def test_the_channels_placeholders_stay_its_own(tmp_path: Path) -> None:
    """What the channel redacted is numbered apart from what the border did, and each is restored by who took it."""

    async def main() -> None:
        guards = replaced("tenants/shop.yaml", "checks_in: [], ", "checks_in: [card], ")
        terms = {"redact": ("email", "phone")}
        async with World(tmp_path, busy, openai, guards, **terms) as world:
            said = f"{SAID} and charge 4111111111111111"
            assert (await world.ask(said)).json["choices"][0]["message"]["content"] == f"echo {said}"
            sent = world.away.requests[0].json["messages"][-1]["content"]
            assert sent == "Write to <EMAIL_1> please and charge <CARD_1>"

    run_virtual(main)


def test_tokens_of_the_day(tmp_path: Path) -> None:
    """What is reserved fits the day's tokens or stays; what was used is settled, so that a day is not filled by
    reservations; and a new day has its tokens again."""

    async def main() -> None:
        async with World(tmp_path, busy, lambda _: stream(["a"], usage(300, 300)), tokens_per_day=1000) as world:
            assert [(await world.ask("Hello")).status for _ in range(3)] == [200, 200, 502]
            assert outcomes(world.gateway)["away-plain"] == "overflow tokens used up"
            assert len(world.away.requests) == 2
            plane = world.gateway.plane
            place = next(plane.pools.places(plane.configuration.snapshot.release.models))
            assert (await plane.store.levels([place]))[0][:2] == (1200, 0)
            await asyncio.sleep(86_400)
            assert (await world.ask("Hello")).status == 200

    run_virtual(main)


def test_a_broken_stream_is_not_gone_on_with_outside(tmp_path: Path) -> None:
    """What has come of an answer may end in half an address: nobody outside is shown it."""
    steps = [Head(200, (EVENTS,)), chunk({"content": f"It is {MAIL[:12]}"}), Cut()]

    async def main() -> None:
        tiers = "    tiers: [S, M, L]\n    cache"
        edit = replaced("tenants/shop.yaml", tiers, f"    resume: continue\n{tiers}")
        async with World(tmp_path, lambda _: steps, openai, edit, prefill=True) as world:
            answer = await world.ask(stream=True)
            assert b"upstream_failed" in answer.body
            assert not world.away.requests

    run_virtual(main)


def test_a_replica_that_has_moved_is_not_asked(tmp_path: Path) -> None:
    """A request that waits while its model moves to another region is not sent there: the fleet changed, its contract
    did not."""

    async def main() -> None:
        async with World(tmp_path, openai, openai) as world:
            plane = world.gateway.plane
            home = plane.fleet.replicas()[0]
            moved = msgspec.structs.replace(home, region="us")
            wiring.set_fleet(plane, {"home": (moved,)})
            assert (await world.ask()).status != 200
            assert outcomes(world.gateway)["home-plain"] == "residency"
            unencrypted = msgspec.structs.replace(moved, model="away", approved=("eu",))
            wiring.set_fleet(plane, {"home": (moved,), "away": (unencrypted,)})
            assert (await world.ask()).status != 200
            assert outcomes(world.gateway)["away-plain"] == "residency"
            assert not world.home.requests
            assert not world.away.requests

    run_virtual(main)


def test_nothing_of_it_is_cached(tmp_path: Path) -> None:
    """An answer from outside does not outlive what it stood in for."""

    async def main() -> None:
        answers = iter([busy, busy])
        async with World(tmp_path, lambda seen: next(answers, openai)(seen), openai) as world:
            first = await world.gateway.ask("Hello")
            await asyncio.sleep(60)  # the ejected one is well again
            again = await world.gateway.ask("Hello")
            told = [one.json["trimtab"] for one in (first, again)]
            assert [one["variant"].partition("@")[0] for one in told] == ["away-plain", "home-plain"]
            assert told[1]["path"] == "direct"

    run_virtual(main)


def test_passages_are_redacted_and_the_answer_is_held_against_them(tmp_path: Path) -> None:
    """A pool reads no address of a passage, and its answer, which names the placeholder, is supported by it."""
    corpora = tmp_path / "corpora" / "help"
    corpora.mkdir(parents=True)
    (corpora / "returns.en.md").write_text(f"# Returns\n\n## Shoes\n\nReturns of shoes are announced to {MAIL}.\n")
    held = "    corpus: help\n    emit: answer\n    cache: {reuse"
    edit = replaced("tenants/shop.yaml", "    cache: {reuse", held)

    async def main() -> None:
        said = "Returns of shoes are announced to <EMAIL_1>."
        async with World(tmp_path, busy, lambda _: stream([said], usage(50, 9)), edit) as world:
            plane = world.gateway.plane
            stored = await build(read_corpus(corpora), HashEmbedder())
            found = {"help": stored.corpus("help")}
            plane.configuration = msgspec.structs.replace(plane.configuration, corpora=found)
            answer = await world.ask("To whom are returns of shoes announced?")
            assert answer.json["choices"][0]["message"]["content"] == said.replace("<EMAIL_1>", MAIL)
            assert answer.json["trimtab"]["path"] == "rag"
            sent = world.away.requests[0].json["messages"][-1]["content"]
            assert "<EMAIL_1>" in sent
            assert MAIL not in sent

    run_virtual(main)
