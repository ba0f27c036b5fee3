"""Slots of an engine by tenant: nobody's prompt begins where another tenant's ended, whatever comes when."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.dataplane.inference import Sender, prompt_of
from trimtab.dataplane.inference.slots import NO_SLOT, Lot, Slots, with_lot


class Engine:
    """What an engine with these slots would do: put a request where it says, after who is there."""

    def __init__(self, count: int) -> None:
        self.held: list[str | None] = [None] * count
        self.waiting: list[list[str]] = [[] for _ in range(count)]

    def put(self, slot: int, tenant: str, *, reuse: bool) -> None:
        """In turn; what it would begin from must be its own."""
        if reuse:
            assert self.held[slot] == tenant, f"{tenant} would begin from what {self.held[slot]} has left"
        self.held[slot] = tenant


@given(
    st.integers(1, 5),
    st.lists(
        st.tuples(
            st.sampled_from(["take", "take", "take", "end", "several"]),
            st.sampled_from("abc"),
            st.integers(0, 3),
            st.integers(0, 4),
        ),
        max_size=80,
    ),
)
@settings(max_examples=500)
def test_nobody_begins_from_what_another_tenant_has_left(count: int, steps: list[tuple[str, str, int, int]]) -> None:
    """Takes, ends, requests with several choices and more at once than there are slots, in any order; where the engine
    chooses it chooses the worst: any slot, at any time until the request has ended."""
    slots, engine = Slots(count), Engine(count)
    running: list[tuple[object, str]] = []
    for what, tenant, text, pick in steps:
        if what == "end":
            if running:
                lot, whose = running.pop(pick % len(running))
                if lot == NO_SLOT:
                    engine.held = [whose] * count  # it may have been put anywhere
                slots.give_back(lot)  # type: ignore[arg-type]
            continue
        sender = Sender(tenant, prompt_of(tenant, None, None, [{"role": "user", "content": "word " * 200 * text}]))
        lot = slots.take(sender, 2 if what == "several" else 1)
        if lot.slot is None:
            assert lot == NO_SLOT
        else:
            assert lot.slot not in [one.slot for one, _ in running], "a slot is given once"  # type: ignore[attr-defined]
            assert not (lot.reuse and any(one == NO_SLOT for one, _ in running))
            engine.put(lot.slot, tenant, reuse=lot.reuse)
        running.append((lot, tenant))


def test_a_conversation_finds_its_own_slot_and_leaves_others_theirs() -> None:
    """The second turn of each goes where its first was; a third one takes what is fresh before it takes over."""
    slots = Slots(3)

    def asks(tenant: str, *texts: str) -> tuple[int | None, bool]:
        messages = [{"role": "user", "content": text * 100} for text in texts]
        lot = slots.take(Sender(tenant, prompt_of(tenant, None, None, messages)))
        slots.give_back(lot)
        return lot.slot, lot.reuse

    assert asks("a", "one ") == (0, False)
    assert asks("a", "two ") == (1, False)
    assert asks("a", "one ", "more ") == (0, True)
    assert asks("a", "two ", "more ") == (1, True)
    assert asks("b", "one ") == (2, False)
    assert asks("b", "one ", "again ") == (2, True)
    assert asks("c", "new ") == (0, False), "the one that was free for longest changes hands"
    assert asks("a", "two ", "more ", "still ") == (1, True)


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["take", "shadow", "end"]), st.integers(0, 5))),
)
@settings(max_examples=300)
def test_a_shadow_neither_drops_nor_goes_on_from_what_a_tenant_has_left(
    count: int, steps: list[tuple[str, str, int]]
) -> None:
    """Whatever runs: it gets a slot that nobody has used or a shadow of its tenant had, and nobody gets one that is
    taken; a tenant that must take over a slot takes a shadow's first."""
    slots = Slots(count)
    held: dict[int, str] = {}
    running: dict[int, Lot] = {}
    for tenant, what, number in steps:
        if what == "end" or len(running) == count:
            if running:
                slots.give_back(running.pop(sorted(running)[number % len(running)]))
            continue
        prompt = prompt_of(tenant, None, None, [{"role": "user", "content": "word " * 200 * number}])
        sender = Sender(tenant, prompt, aside=what == "shadow")
        free = set(range(count)) - running.keys()
        left = {held.get(slot) for slot in free}
        if what == "shadow" and not slots.has_spare(sender):
            assert not left & {None, sender.owner}
            continue
        lot = slots.take(sender)
        assert lot.slot in free
        before = held.get(lot.slot)
        if what == "shadow":
            assert before in (None, sender.owner)
        elif before not in (None, tenant) and not str(before).startswith("shadow/"):
            assert not any(one is None or one == tenant or one.startswith("shadow/") for one in left)
        assert not lot.reuse or before == sender.owner
        held[lot.slot], running[lot.slot] = sender.owner, lot


def test_gateways_of_one_engine_have_slots_of_their_own() -> None:
    """Each N-th; with more gateways than slots nobody reuses anything."""
    sender = Sender("a", prompt_of("a", None, None, []))
    taken = [{slots.take(sender).slot for _ in range(2)} for slots in (Slots(5, n, 2) for n in range(2))]
    assert taken == [{0, 2}, {1, 3}]
    few = Slots(2, 1, 3)
    assert few.take(sender) == NO_SLOT


def test_a_request_says_where_it_goes() -> None:
    """In its own JSON."""
    assert with_lot(b'{"a":1}', NO_SLOT) == b'{"a":1,"cache_prompt":false}'
    slots = Slots(1)
    sender = Sender("a", prompt_of("a", None, None, []))
    first = slots.take(sender)
    slots.give_back(first)
    assert with_lot(b'{"a":1}', slots.take(sender)) == b'{"a":1,"id_slot":0,"cache_prompt":true}'
