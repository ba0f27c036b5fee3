"""Prefixes by name, and what replicas are believed to hold of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.money import Usage
from trimtab.dataplane.inference import Choice, Origin, Prompt, Replica, prompt_of
from trimtab.dataplane.inference.choice import Belief, Placed
from trimtab.dataplane.inference.prefix import BLOCK, MOST_KEPT, Held

TEXTS = st.text(st.sampled_from("ab"), max_size=5).map(lambda text: text * (BLOCK // 2))
TURNS = st.lists(st.tuples(st.sampled_from(["user", "assistant", "system"]), TEXTS), max_size=4)
CHAIN = [bytes([number]) for number in range(20)]


def messages(turns: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in turns]


def replica(number: int, port: int = 1000) -> Replica:
    return Replica(id=f"m/{number}", model="m", origin=Origin.parse(f"http://up:{port + number}"), path="/")


def two(tokens: float = 10_000) -> Choice:
    choice = Choice()
    choice.update({"m": [replica(0), replica(1)]}, {"m": tokens})
    return choice


def place(choice: Choice, prompt: Prompt, number: int = 0, tokens: float = 1000) -> tuple[Belief, Placed]:
    belief = choice.look("m", prompt)
    placed = choice.placed(replica(number), belief, tokens)
    assert placed is not None
    return belief, placed


# --- blocks


@given(TURNS, TURNS)
def test_blocks_are_equal_as_far_as_prompts_are(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> None:
    """A block matches only where all before it does: with a first difference none after it is equal."""
    first, second = (prompt_of("shop", "Be brief.", None, messages(turns)).blocks for turns in (one, other))
    same = [a == b for a, b in zip(first, second, strict=False)]
    assert same == sorted(same, reverse=True)
    texts = ["".join(f"\x1e{role}\x1f{text}" for role, text in turns) for turns in (one, other)]
    lead = len("\x1esystem\x1fBe brief.")
    common = next((at for at, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), min(map(len, texts)))
    assert sum(same) == (lead + common) // BLOCK


@given(TURNS, TURNS)
def test_no_block_of_one_tenant_is_anothers(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> None:
    """Whatever is in the prompts."""
    first, second = prompt_of("shop", None, None, messages(one)), prompt_of("bank", None, None, messages(other))
    assert not set(first.blocks) & set(second.blocks)


@given(st.lists(st.tuples(st.sampled_from(["shop", "bank"]), TURNS), max_size=8), TURNS)
def test_what_one_tenant_sent_shows_nothing_to_another(
    sent: list[tuple[str, list[tuple[str, str]]]], asked: list[tuple[str, str]]
) -> None:
    """Of the bank's prompts replicas are believed to hold the same, whether the shop's had come or not."""
    both, alone = two(1e9), two(1e9)
    for tenant, turns in sent:
        place(both, prompt_of(tenant, None, None, messages(turns)))
        if tenant == "bank":
            place(alone, prompt_of(tenant, None, None, messages(turns)))
    prompt = prompt_of("bank", None, None, messages(asked))
    assert both.look("m", prompt).shares == alone.look("m", prompt).shares


def test_tools_and_roles_are_of_the_prompt() -> None:
    said = [{"role": "user", "content": "x" * 2 * BLOCK}]
    plain = prompt_of("shop", None, None, said)
    assert plain.blocks != prompt_of("shop", None, [{"type": "function"}], said).blocks
    assert plain.blocks != prompt_of("shop", None, None, [{**said[0], "role": "tool"}]).blocks
    called = [*said, {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "arguments": "y" * BLOCK}]}]
    assert prompt_of("shop", None, None, called).blocks[:2] == plain.blocks
    assert len(prompt_of("shop", None, None, called).blocks) == 3
    parts = [{"role": "user", "content": [{"type": "text", "text": "x" * 2 * BLOCK}]}]
    assert len(prompt_of("shop", None, None, parts).blocks) == 2
    assert prompt_of("shop", None, None, [{"role": "user", "content": "\ud800" * BLOCK}]).blocks


# --- what one holds


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40), st.floats(1, 50)), max_size=60),
    st.floats(0, 400),
)
def test_what_is_held_is_bounded_and_always_a_beginning(uses: list[tuple[int, int, float]], room: float) -> None:
    """Whatever came in whatever order: never more tokens than there is room for; and bisection finds what a walk over
    all blocks does."""
    held = Held(room)
    for number, (chain, length, tokens) in enumerate(uses):
        held.use([bytes([chain, at]) for at in range(length)], tokens, number)
        assert 0 <= held.tokens <= room + 1e-6
        for other in range(6):
            blocks = [bytes([other, at]) for at in range(40)]
            known = [bool(held.match([block])) for block in blocks]
            assert known == sorted(known, reverse=True)
            assert held.match(blocks) == sum(known)


def test_who_was_used_longest_ago_goes_first() -> None:
    held = Held(10)
    held.use(CHAIN[:5], 1, 1)
    held.use(CHAIN[10:15], 1, 2)
    held.use(CHAIN[:3], 1, 3)
    held.use(CHAIN[15:20], 1, 4)
    assert (held.match(CHAIN[:5]), held.match(CHAIN[10:15]), held.match(CHAIN[15:20])) == (3, 2, 5)


def test_many_blocks_are_not_kept_whatever_a_replica_can_hold() -> None:
    held = Held(1e12)
    for number in range(70):
        held.use([number.to_bytes(2, "big") + at.to_bytes(4, "big") for at in range(1000)], 1, number)
    assert len(held) == MOST_KEPT


# --- what is told


def test_a_prompt_is_held_where_it_went_and_nowhere_else() -> None:
    choice = two()
    prompt = prompt_of("shop", None, None, messages([("user", "x" * 4000)]))
    assert choice.look("m", prompt).shares == {}
    place(choice, prompt, 1)
    assert choice.look("m", prompt).shares == {"m/1": pytest.approx(1, abs=BLOCK / 4000)}
    longer = prompt_of("shop", None, None, messages([("user", "x" * 4000), ("assistant", "y" * 4000)]))
    assert choice.look("m", longer).shares["m/1"] == pytest.approx(0.5, abs=BLOCK / 8000)


def test_what_an_engine_did_not_hold_is_not_believed_and_nor_is_what_is_older() -> None:
    """It says that of a prompt believed to be held nothing was: whatever was used before that prompt has gone, too;
    what came later stays."""
    choice = two()
    old, asked, new = (prompt_of("shop", None, None, messages([("user", text * 4000)])) for text in "abc")
    for prompt in (old, asked, new):
        place(choice, prompt)
    _, placed = place(choice, asked)
    choice.corrected(placed, Usage(prompt=1000, cached=0))
    assert choice.look("m", old).shares == {}
    assert set(choice.look("m", new).shares) == set(choice.look("m", asked).shares) == {"m/0"}


def test_an_engine_that_tells_nothing_or_what_was_believed_corrects_nothing() -> None:
    choice = two()
    old, asked = (prompt_of("shop", None, None, messages([("user", text * 4000)])) for text in "ab")
    for prompt in (old, asked):
        place(choice, prompt)
    before = choice.look("m", old).shares
    for usage in (Usage(), Usage(prompt=1000), Usage(prompt=1000, cached=960), Usage(prompt=0, cached=0)):
        _, placed = place(choice, asked)
        choice.corrected(placed, usage)
    assert choice.look("m", old).shares == before


def test_an_engine_that_keeps_no_prefixes_is_soon_believed_to_hold_none() -> None:
    """And one that does again after a while is believed again."""
    choice = two()
    asked = prompt_of("shop", None, None, messages([("user", "a" * 4000)]))
    for cached, most in ((0, 0.05), (1000, 1.0)):
        for _ in range(40):
            _, placed = place(choice, asked)
            choice.corrected(placed, Usage(prompt=1000, cached=cached))
        assert choice.look("m", asked).shares["m/0"] == pytest.approx(most, abs=0.1)


def test_who_asked_before_a_prompt_was_in_corrects_nothing() -> None:
    """Two with the same prompt at once: neither found it, which says nothing of what the replica has lost."""
    choice = two()
    old, asked = (prompt_of("shop", None, None, messages([("user", text * 4000)])) for text in "ab")
    place(choice, old)
    beliefs = [choice.look("m", asked), choice.look("m", asked)]
    for belief in beliefs:
        placed = choice.placed(replica(0), belief, 1000)
        assert placed is not None
        choice.corrected(placed, Usage(prompt=1000, cached=0))
    assert choice.look("m", old).shares["m/0"] > 0.9


def test_a_prompt_that_another_brought_back_meanwhile_says_nothing_of_what_came_between() -> None:
    """Two find that a replica has lost their prompt. The first brings it back: that the second found nothing either
    says nothing of what came before that."""
    choice = two()
    asked, new = (prompt_of("shop", None, None, messages([("user", text * 4000)])) for text in "ab")
    place(choice, asked)
    beliefs = [choice.look("m", asked), choice.look("m", asked)]
    place(choice, new)
    for belief in beliefs:
        placed = choice.placed(replica(0), belief, 1000)
        assert placed is not None
        choice.corrected(placed, Usage(prompt=1000, cached=0))
    assert choice.look("m", new).shares["m/0"] > 0.5


def test_a_replica_that_was_started_again_holds_nothing() -> None:
    """Another address under the same name is another engine; what was sent to the one before says nothing of it. The
    other one keeps what it has."""
    choice = two()
    prompt = prompt_of("shop", None, None, messages([("user", "x" * 4000)]))
    place(choice, prompt, 0)
    _, placed = place(choice, prompt, 1)
    again = replica(1, port=2000)
    choice.update({"m": [replica(0), again]}, {"m": 10_000})
    assert set(choice.look("m", prompt).shares) == {"m/0"}
    choice.corrected(placed, Usage(prompt=1000, cached=0))
    assert choice.placed(replica(1), choice.look("m", prompt), 1000) is None


def test_with_one_replica_there_is_nothing_to_choose() -> None:
    choice = two()
    assert choice.is_open("m")
    choice.update({"m": [replica(0)], "n": []}, {"m": 1, "n": 1})
    assert not choice.is_open("m")
    assert not choice.is_open("n")
    assert not choice.is_open("gone")
