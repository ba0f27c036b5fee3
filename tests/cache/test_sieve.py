"""What is kept in so many bytes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cache._answers import entry
from trimtab.dataplane.cache.sieve import Sieve

MAX = 20


class Model:
    """SIEVE on a list (newest first), after the paper's figure; the hand is a place in it, counted from the tail."""

    def __init__(self) -> None:
        self.queue: list[list[object]] = []
        self.hand = 0
        self.sizes: dict[bytes, int] = {}

    def put(self, key: bytes, size: int) -> None:
        self.remove(key)
        while sum(self.sizes.values()) + size > MAX:
            self.evict()
        self.queue.insert(0, [key, False])
        self.sizes[key] = size

    def evict(self) -> None:
        while True:
            self.wrap()
            row = self.queue[len(self.queue) - 1 - self.hand]
            if not row[1]:
                break
            row[1] = False
            self.hand += 1
        self.queue.remove(row)
        del self.sizes[row[0]]  # type: ignore[arg-type]
        self.wrap()

    def wrap(self) -> None:
        """Past the head the hand is at the tail, before anything new comes to the head."""
        if self.hand >= len(self.queue):
            self.hand = 0

    def mark(self, key: bytes) -> None:
        for row in self.queue:
            if row[0] == key:
                row[1] = True

    def remove(self, key: bytes) -> None:
        for place, row in enumerate(reversed(self.queue)):
            if row[0] == key:
                self.queue.remove(row)
                self.hand -= place < self.hand
                self.wrap()
                del self.sizes[key]


_keys = st.integers(0, 9).map(lambda number: bytes([number]))
_steps = st.tuples(st.sampled_from(["put", "put", "mark", "remove"]), _keys, st.integers(1, 6))


@settings(max_examples=250, deadline=None)
@given(st.lists(_steps, max_size=60))
def test_it_evicts_what_the_paper_evicts(steps: list[tuple[str, bytes, int]]) -> None:
    """After every step it holds what the model holds, in no more bytes than allowed."""
    sieve, model = Sieve(MAX), Model()
    for verb, key, size in steps:
        if verb == "put":
            sieve.put(key, entry(size=size), 0)
            model.put(key, size)
        elif verb == "remove":
            sieve.remove(key)
            model.remove(key)
        elif sieve.get(key) is not None:
            sieve.mark(key)
            model.mark(key)
        held = {key: found.size for key in map(bytes, ([n] for n in range(10))) if (found := sieve.get(key))}
        assert held == model.sizes
        assert sieve.bytes == sum(held.values()) <= MAX
        assert len(sieve) == len(held)


def test_the_hand_stays_where_it_was() -> None:
    """What lost its mark is looked at again only once the hand has been round: till then others go."""
    sieve = Sieve(MAX)
    for key in (b"a", b"b", b"c", b"d"):
        sieve.put(key, entry(size=5), 0)
    sieve.mark(b"a")
    for new, gone in ((b"e", b"b"), (b"f", b"c"), (b"g", b"d"), (b"h", b"e")):
        sieve.put(new, entry(size=5), 0)
        assert sieve.get(gone) is None
        assert sieve.get(b"a") is not None


def test_what_was_asked_for_again_survives_a_sweep() -> None:
    """Entries that were used stay while a hundred that nobody asks for again go through."""
    sieve = Sieve(MAX)
    for number in range(4):
        sieve.put(bytes([number]), entry(size=2), 0)
        sieve.mark(bytes([number]))
    for number in range(100, 200):
        for kept in range(4):
            if sieve.get(bytes([kept])):
                sieve.mark(bytes([kept]))
        sieve.put(bytes([number]), entry(size=2), 0)
    assert all(sieve.get(bytes([number])) for number in range(4))
    assert sieve.evicted == 94


def test_a_stale_entry_goes_though_it_was_used() -> None:
    """Where room is needed a stale entry has no second chance."""
    sieve = Sieve(2)
    for key, expires_ns in ((b"fresh", 11), (b"stale", 10)):
        sieve.put(key, entry(size=1, expires_ns=expires_ns), 0)
        sieve.mark(key)
    sieve.put(b"new", entry(size=1), 10)
    assert sieve.get(b"stale") is None
    assert sieve.get(b"fresh") is not None
    sieve.clear()
    assert (len(sieve), sieve.bytes) == (0, 0)
