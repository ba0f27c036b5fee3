"""What an engine publishes of its blocks: how much is held, when all is gone, and what a loss leaves unknown."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.kv_publisher import CLEARED, batch, removed, stored, stored_map
from trimtab.dataplane.inference import Choice, Origin, Prompt, Replica
from trimtab.dataplane.inference.kv_events import MOST_BYTES, Blocks, Holding, KvEvent, events_of

REPLICA = Replica(id="m/0", model="m", origin=Origin.parse("http://up:1000"), path="/")


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (batch(stored(1, 2), removed(1), CLEARED), ["stored 2 16", "removed 1 0", "cleared 0 0"]),
        (batch(stored_map(1, 2, 3, size=32), as_map=True), ["stored 3 32"]),
        (batch({"type": "BlockRemoved", "block_hashes": [1], "medium": "GPU"}, as_map=True), ["removed 1 0"]),
        (batch({"type": "AllBlocksCleared"}, as_map=True), ["cleared 0 0"]),
        (
            batch(["BlockStored", [b"a", b"b"], b"p", [1, 2], 1, None], ["BlockRemoved", [b"a"]]),
            ["stored 2 1", "removed 1 0"],
        ),
        (batch(stored(1, medium="CPU"), removed(1, medium="CPU"), stored(2, medium=None)), ["stored 1 16"]),
        (batch(stored(1, group=0), stored(1, group=1), stored_map(1, group_idx=2)), ["stored 1 16"]),
        (batch(["SomethingNew", 1]), []),
        (batch(), []),
    ],
)
def test_batches_are_read_as_arrays_and_as_maps(payload: bytes, found: list[str]) -> None:
    """Of the accelerator's blocks, of one cache group; events of other kinds are passed over."""
    events = events_of(payload)
    assert events is not None
    assert [f"{one.kind} {one.blocks} {one.size}" for one in events] == found


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode(None),
        msgspec.msgpack.encode([1.5]),
        msgspec.msgpack.encode({"ts": 1}),
        msgspec.msgpack.encode([1, 2]),
        msgspec.msgpack.encode([1, [[]]]),
        batch(["BlockStored", [1], None, [1]]),
        batch(["BlockStored", 5, None, [1], 16, None]),
        batch(["BlockStored", "abc", None, [1], 16, None]),
        batch(stored(1, size=0)),
        batch(["BlockRemoved"]),
        batch([["BlockRemoved"], [1]]),
        b"\x91" * 100_000,
        batch(stored(1)) + b"\x00" * MOST_BYTES,
    ],
)
def test_what_is_no_batch_tells_nothing(payload: bytes) -> None:
    """None of it is counted, not even what was well before the fault."""
    assert events_of(payload) is None


PACKED: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers(-5, 5) | st.sampled_from(["BlockStored", "BlockRemoved", "events", "GPU"]),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.sampled_from(["type", "events"]), inner),
)


@given(st.one_of(st.binary(max_size=50), PACKED.map(msgspec.msgpack.encode)))
def test_no_batch_raises(payload: bytes) -> None:
    found = events_of(payload)
    assert found is None or all(isinstance(one, KvEvent) and one.blocks >= 0 for one in found)


def test_what_is_held_is_what_was_stored_and_not_removed() -> None:
    blocks = Blocks()
    assert blocks.take(0, batch(stored(1, 2, 3))) == Holding(48)
    assert blocks.take(1, batch(removed(1), stored(4, 5))) == Holding(64, removed=True)
    assert blocks.take(2, batch(removed(2), CLEARED, stored(6))) == Holding(16, cleared=True)
    assert blocks.take(1, batch(stored(9))) is None, "it was taken before"
    assert repr(blocks) == "<Blocks of 16 tokens before batch 3>"


def test_after_a_loss_nothing_is_known_until_all_is_cleared() -> None:
    """Neither after a gap, nor after a batch that can't be read, nor when more goes than was there."""
    for lose in (
        lambda one: one.take(5, batch(stored(2))),
        lambda one: one.take(1, b"?"),
        lambda one: one.take(1, batch(removed(1, 2, 3))),
    ):
        blocks = Blocks()
        blocks.take(0, batch(stored(1)))
        holding = lose(blocks)
        assert holding is not None
        assert holding.tokens is None
        assert blocks.take(6, batch(stored(3), removed(3))) == Holding(None, removed=True)
        assert blocks.take(7, batch(CLEARED, stored(1))) == Holding(16, cleared=True)


def test_what_is_told_again_fills_the_gap() -> None:
    """Each batch counts once, also when it comes a second time behind those that were told again."""
    blocks = Blocks()
    assert blocks.arrived(3) is None
    assert blocks.missing(3) == 0
    for number in range(5):
        blocks.take(number, batch(stored(number)))
    assert blocks.take(3, batch(stored(3))) is None
    assert (blocks.arrived(4), blocks.missing(4), blocks.take(4, batch(stored(4)))) == (None, None, None)
    assert blocks.take(5, batch()) == Holding(80)


def test_numbers_that_begin_anew_are_another_engine() -> None:
    """It holds nothing of what the one before it held."""
    blocks = Blocks()
    for number in range(3):
        assert blocks.arrived(number) is None
        blocks.take(number, batch(stored(number)))
    assert blocks.arrived(1) == Holding(0, cleared=True)
    assert blocks.missing(1) == 0
    assert blocks.take(0, batch(stored(8))) == Holding(16)
    assert blocks.take(1, batch(stored(9))) == Holding(32)


@given(st.lists(st.sampled_from(["stored", "removed", "cleared", "lost", "again"]), max_size=30))
def test_what_is_told_is_never_more_than_what_was_published(steps: list[str]) -> None:
    """Against an engine that is simulated: tokens are exact or unknown."""
    blocks, held, number, payload = Blocks(), 0, 0, b""
    for step in steps:
        if step == "again":
            if number:
                assert blocks.take(number - 1, payload) is None
            continue
        if step == "removed" and not held:
            continue
        event = {"stored": stored(1, 2), "removed": removed(1), "cleared": CLEARED, "lost": stored(7)}[step]
        held = {"stored": held + 2, "removed": held - 1, "cleared": 0, "lost": held + 1}[step]
        payload = batch(event)
        if step != "lost":
            holding = blocks.take(number, payload)
            assert holding is not None
            assert holding.tokens in (None, held * 16)
        else:
            payload = batch()
            blocks.take(number + 1, payload)
            number += 1
        number += 1


# --- what replicas are believed to hold


def chain(*names: bytes) -> Prompt:
    return Prompt(names, 1 / len(names))


def choice(tokens: float = 1000) -> Choice:
    one = Choice()
    one.update({"m": [REPLICA]}, {"m": tokens})
    return one


def place(one: Choice, prompt: Prompt, tokens: float) -> None:
    assert one.placed(REPLICA, one.look("m", prompt), tokens) is not None


OLD, NEW = chain(b"o1", b"o2", b"o3", b"o4"), chain(b"n1", b"n2", b"n3", b"n4")


def test_a_cleared_engine_is_believed_to_hold_nothing() -> None:
    one = choice()
    place(one, OLD, 400)
    one.told(REPLICA, Holding(None, cleared=True))
    assert one.look("m", OLD).blocks == {}


def test_what_an_engine_drops_is_taken_from_what_was_used_longest_ago() -> None:
    """As much as leaves no more than it holds. What it adds takes nothing: the prompt that it is of was placed before
    that was told."""
    one = choice()
    place(one, OLD, 400)
    place(one, NEW, 400)
    one.told(REPLICA, Holding(400))
    assert one.look("m", OLD).blocks == {"m/0": 4}
    one.told(REPLICA, Holding(600, removed=True))
    assert (one.look("m", OLD).blocks, one.look("m", NEW).blocks) == ({"m/0": 2}, {"m/0": 4})
    one.told(REPLICA, Holding(None, removed=True))
    assert one.look("m", NEW).blocks == {"m/0": 4}, "nobody knows how much was dropped"


def test_an_engine_that_holds_more_than_was_declared_is_believed_to() -> None:
    """Over a reload too; another one under the same name begins with what is declared."""
    one = choice(tokens=400)
    one.told(REPLICA, Holding(900))
    place(one, OLD, 400)
    place(one, NEW, 400)
    assert one.look("m", OLD).blocks == {"m/0": 4}
    one.update({"m": [REPLICA]}, {"m": 400})
    place(one, NEW, 400)
    assert one.look("m", OLD).blocks == {"m/0": 4}
    other = msgspec.structs.replace(REPLICA, path="/other")
    one.update({"m": [other]}, {"m": 400})
    one.told(REPLICA, Holding(900))
    assert one.placed(other, one.look("m", OLD), 400) is not None
    assert one.placed(other, one.look("m", NEW), 400) is not None
    assert one.look("m", OLD).blocks == {}
