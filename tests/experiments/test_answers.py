"""A/B and canary as callers, the cache and the record see them, on scripted model servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from support.gateway import Edit, Gateway, replaced
from support.upstream import ScriptedUpstream, failure
from trimtab.core.record import Record
from trimtab.surfaces.twin import run_virtual

CANARY = """
canary:
  kind: canary
  channels: [shop/web, fresh]
  of: small-plain
  arms: {new: {variant: small-new, share: %s}}
"""
NEW = """
  new: {endpoint: "MEDIUM/v1", tier: %s, context: 8192, slots: 4, api_key: "file:upstream.key", private: true%s}
variants:
  small-new: {model: new, prompt: brief, max_tokens: 200}
"""
RULE = """
  - id: never
    at: decide
    when: "true"
    then: {forbid: ["variant:%s"]}
    tests: [{name: always, given: {}, hit: true}]
"""
SESSIONS = [f"trimtab-session: {number}" for number in range(12)]


def declared(share: float, tier: str = "S", more: str = "", price: str = '"1"') -> Edit:
    """`small-new` on the medium server stands in for `small-plain`."""

    def edit(documents: dict[str, str]) -> None:
        documents["experiments.yaml"] = CANARY % share
        documents["models.yaml"] = documents["models.yaml"].replace("\nvariants:\n", NEW % (tier, more))
        documents["prices.yaml"] += f'new: {{input_usd_per_mtok: {price}, output_usd_per_mtok: "4"}}\n'

    return edit


def forbidden(name: str) -> Edit:
    def edit(documents: dict[str, str]) -> None:
        documents["policy.yaml"] += RULE % name

    return edit


RESIDENT = replaced("tenants/shop.yaml", "id: shop", "id: shop\nresidency: eu")
LEAST = replaced("tenants/shop.yaml", "quality: {min: 0}", "quality: {min: 0.5}")
Main = Callable[[Gateway, ScriptedUpstream, ScriptedUpstream], Awaitable[None]]


def served(folder: Path, main: Main, *edits: Edit, new: ScriptedUpstream | None = None) -> list[Record]:
    """The records of what `main` asks: of the small server, and of that of the new variant."""

    async def run() -> list[Record]:
        other = new or ScriptedUpstream()
        async with ScriptedUpstream() as small, other, Gateway(folder, small.url, other.url, *edits) as gateway:
            await main(gateway, small, other)
            return gateway.records

    found: list[Record] = run_virtual(run)
    return found


def variant(record: Record) -> str:
    return (record.variant or "").partition("@")[0]


def arm(record: Record) -> tuple[str, str | None, str | None]:
    assert record.experiment is not None
    assert record.experiment.name == "canary"
    return record.experiment.arm, record.role, record.experiment.instead


def test_a_session_keeps_its_arm_and_the_record_says_which(tmp_path: Path) -> None:
    """Whatever it asks; arms answer by their own variants, and both are there at one half."""

    async def main(gateway: Gateway, small: ScriptedUpstream, new: ScriptedUpstream) -> None:
        for text in ("One", "Two"):
            for session in SESSIONS:
                await gateway.ask(text, session)

    found = served(tmp_path, main, declared(0.5))
    first, second = found[: len(SESSIONS)], found[len(SESSIONS) :]
    assert [arm(row) for row in first] == [arm(row) for row in second]
    assert {(arm(row), variant(row)) for row in found} == {
        (("new", "arm", None), "small-new"),
        (("control", "control", None), "small-plain"),
    }


def test_an_arm_is_kept_from_all_others(tmp_path: Path) -> None:
    """At share 0 nobody gets the variant, though it is the cheapest, pinned to its tier or not; its name alone gets it
    where a channel lets callers pin it, in no experiment."""

    async def main(gateway: Gateway, small: ScriptedUpstream, new: ScriptedUpstream) -> None:
        await gateway.ask("One", SESSIONS[0])
        await gateway.ask("Two", SESSIONS[0], model="tier:S")
        await gateway.ask("Three", SESSIONS[0], model="small-new")

    pin = replaced("tenants/shop.yaml", 'pin: ["tier:S"', 'pin: [small-new, "tier:S"')
    found = served(tmp_path, main, declared(0, price='"0.1"'), pin)
    assert [variant(row) for row in found] == ["small-plain", "small-plain", "small-new"]
    assert [row.experiment is not None for row in found] == [True, True, False]
    assert "kept for an experiment" in [row.outcome for row in found[0].plans]


def test_arms_never_share_answers(tmp_path: Path) -> None:
    """The same question is stored once for each arm; a second session of the arm is answered from its own."""

    async def main(gateway: Gateway, small: ScriptedUpstream, new: ScriptedUpstream) -> None:
        for session in SESSIONS:
            await gateway.ask("One", session)
        assert (len(small.requests), len(new.requests)) == (1, 1)

    found = served(tmp_path, main, declared(0.5))
    assert {(arm(row)[0], variant(row)) for row in found if row.path == "cache-exact"} == {
        ("new", "small-new"),
        ("control", "small-plain"),
    }
    assert all(row.role == ("arm" if arm(row)[0] == "new" else "control") for row in found)


@pytest.mark.parametrize(
    ("reason", "edits"),
    [
        ("tier not allowed", [declared(1, tier="L")]),
        ("quality", [declared(1), LEAST]),
        ("residency", [declared(1, more=", region: us"), RESIDENT]),
        ("forbidden by policy", [declared(1), forbidden("small-new")]),
        ("cost", [declared(1, price='"1000000"')]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_experiment_never_widens_what_is_allowed(tmp_path: Path, reason: str, edits: list[Edit]) -> None:
    """An arm that terms, policy or money rule out is not asked; control answers, and the record says why."""

    async def main(gateway: Gateway, small: ScriptedUpstream, new: ScriptedUpstream) -> None:
        answer = await gateway.ask("One")
        assert answer.status == 200, answer.body
        assert new.requests == []

    old = "  small-plain: {model: small, prompt: brief, max_tokens: 200"
    measured = ", quality: {value: 0.9, lower: 0.8, n: 100, source: here}"
    region = replaced("models.yaml", 'SMALL/v1", tier: S', 'SMALL/v1", region: eu, tier: S')
    (found,) = served(tmp_path, main, replaced("models.yaml", old, old + measured), region, *edits)
    assert arm(found) == ("new", "control", reason)


def test_where_control_may_not_answer_the_arm_does_not_either(tmp_path: Path) -> None:
    """Forbidden is what it stands in for: another tier answers, and the arm is left out."""

    async def main(gateway: Gateway, small: ScriptedUpstream, new: ScriptedUpstream) -> None:
        await gateway.ask("One")

    (found,) = served(tmp_path, main, declared(1), forbidden("small-plain"))
    assert (variant(found), arm(found)) == ("medium-plain", ("new", None, None))
    assert "nothing to stand in for" in [row.outcome for row in found.plans]


def test_control_stands_in_for_an_arm_that_fails_and_is_not_stored_as_its_answer(tmp_path: Path) -> None:
    """The caller has an answer; the record has both attempts and the reason; the next request asks the arm again."""
    new = ScriptedUpstream(lambda seen: failure(500))

    async def main(gateway: Gateway, small: ScriptedUpstream, new: ScriptedUpstream) -> None:
        for _ in range(2):
            assert (await gateway.ask("One")).status == 200
        assert len(small.requests) == 2

    found = served(tmp_path, main, declared(1), new=new)
    for row in found:
        assert (variant(row), arm(row)) == ("small-plain", ("new", "control", "http 500"))
        assert row.path == "direct"
