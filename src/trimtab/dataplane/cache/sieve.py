"""SIEVE: which entries to keep in so many bytes (Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024).

One queue, new entries at its head. A hit only sets the entry's mark: no lock, no move. A hand goes from the tail to
the head: where it finds a mark it takes it away and goes on, where it finds none it evicts; it stays where it was, and
begins anew at the tail once it has passed the head.

    head  new ... kept ... | hand | ... old  tail

What was asked for again survives at its place, what came once is gone by the hand's next round: on web and CDN traces
that misses less than LRU and ARC (their figures), and it resists scans. Why not LRU: a move on each hit, and one sweep
of questions asked once flushes it. Stale entries have no use for their mark and go when the hand meets them.
"""

from __future__ import annotations

from trimtab.dataplane.cache.entry import Entry


class _Node:
    """A place in the queue; `newer` towards the head."""

    __slots__ = ("entry", "key", "newer", "older", "visited")

    def __init__(self, key: bytes, entry: Entry) -> None:
        self.key, self.entry = key, entry
        self.visited = False
        self.newer: _Node | None = None
        self.older: _Node | None = None


class Sieve:
    """Entries by key, never more than `max_bytes` of them."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.evicted = 0
        self._nodes: dict[bytes, _Node] = {}
        self._head: _Node | None = None
        self._tail: _Node | None = None
        self._hand: _Node | None = None

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, key: bytes) -> Entry | None:
        """The entry, unmarked: who takes it calls `mark`."""
        node = self._nodes.get(key)
        return None if node is None else node.entry

    def mark(self, key: bytes) -> None:
        self._nodes[key].visited = True

    def put(self, key: bytes, entry: Entry, now_ns: int) -> None:
        """Add or replace. The entry must not be larger than `max_bytes`."""
        self.remove(key)
        self.shrink(self.max_bytes - entry.size, now_ns)
        node = self._nodes[key] = _Node(key, entry)
        node.older, self._head = self._head, node
        if node.older is None:
            self._tail = node
        else:
            node.older.newer = node
        self.bytes += entry.size

    def shrink(self, most_bytes: int, now_ns: int) -> None:
        """Evict until no more than so many bytes are left."""
        while self.bytes > most_bytes:
            self._evict(now_ns)

    def remove(self, key: bytes) -> None:
        node = self._nodes.get(key)
        if node is not None:
            self._unlink(node)

    def clear(self) -> None:
        self._nodes.clear()
        self._head = self._tail = self._hand = None
        self.bytes = 0

    def _evict(self, now_ns: int) -> None:
        node = self._hand or self._tail
        while node is not None and node.visited and node.entry.expires_ns > now_ns:
            node.visited = False
            node = node.newer or self._tail
        assert node is not None, "an entry of more than max_bytes"
        self._hand = node
        self._unlink(node)
        self.evicted += 1

    def _unlink(self, node: _Node) -> None:
        """Take out, and move the hand on if it stood there."""
        if self._hand is node:
            self._hand = node.newer
        if node.newer is None:
            self._head = node.older
        else:
            node.newer.older = node.older
        if node.older is None:
            self._tail = node.newer
        else:
            node.older.newer = node.newer
        del self._nodes[node.key]
        self.bytes -= node.entry.size
