"""KV events: what a vLLM engine publishes of the blocks that it holds, and what is certain of it.

Its names of blocks are hashes of token ids, ours of bytes, and without the model's tokenizer neither can be found from
the other. What is certain without: that all was cleared, that the engine has begun anew, and how many tokens it holds,
once every event since one of these has been seen. The stream loses events where its reader is slow; each batch has a
number, so that a gap shows. What was lost can be asked for where the engine keeps it (`kv_replay`); else nothing is
believed of how much it holds until it clears all, and its `usage.cached` corrects what is believed, as without events.

Batches are msgpack, as arrays (`[time, events, rank]`, an event `["BlockStored", hashes, parent, token_ids, ...]`) or,
from later releases, as maps with the event's name as `type`: both are read. Blocks in other memory than the
accelerator's are not counted, nor those of a second cache group, which hold the same tokens again. Of an engine with
several data-parallel ranks each publishes at a port of its own, so that one address does not tell of all.
(vllm-project/vllm vllm/distributed/kv_events.py @ 0181ea3.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

MOST_BYTES: Final = 4 << 20
"""Of a batch."""
_MOST_BLOCK: Final = 1 << 20
_DEVICE: Final = (None, "GPU")
_FIELDS: Final = {
    "BlockStored": ("block_hashes", "", "", "block_size", "", "medium", "", "", "group_idx"),
    "BlockRemoved": ("block_hashes", "medium", "group_idx"),
    "AllBlocksCleared": (),
}
"""Of the events as arrays, in order; what is not read has no name."""


class KvEvent(msgspec.Struct, frozen=True):
    """`blocks` of `size` tokens each; removals say no size (0)."""

    kind: Literal["stored", "removed", "cleared"]
    blocks: int = 0
    size: int = 0


def events_of(payload: bytes) -> list[KvEvent] | None:
    """Of one batch, in order; None for what is none. Never raises, whatever the bytes. An event of a kind that is not
    known is left out."""
    if len(payload) > MOST_BYTES:
        return None
    try:
        batch = msgspec.msgpack.decode(payload)
        events = batch["events"] if isinstance(batch, dict) else batch[1]
        return [found for event in events if (found := _event(event)) is not None]
    except (msgspec.DecodeError, RecursionError, LookupError, TypeError, ValueError):
        return None


def _event(event: Any) -> KvEvent | None:
    """Raises LookupError, TypeError or ValueError for one that is malformed."""
    if isinstance(event, dict):
        kind, fields = event["type"], event
    else:
        kind, fields = event[0], dict(zip(_FIELDS.get(event[0], ()), event[1:], strict=False))
    if kind == "AllBlocksCleared":
        return KvEvent("cleared")
    if kind not in _FIELDS or fields.get("medium") not in _DEVICE or fields.get("group_idx") not in (None, 0):
        return None
    blocks = fields["block_hashes"]
    if not isinstance(blocks, Sequence) or isinstance(blocks, str | bytes):
        raise TypeError("blocks are a list")
    if kind == "BlockRemoved":
        return KvEvent("removed", len(blocks))
    size = fields["block_size"]
    if not isinstance(size, int) or not 0 < size <= _MOST_BLOCK:
        raise ValueError("a block has tokens")
    return KvEvent("stored", len(blocks), size)


class Holding(msgspec.Struct, frozen=True):
    """What a batch has changed. `tokens`: that the engine holds now; None: nobody knows."""

    tokens: int | None
    cleared: bool = False
    """Nothing of what it held before is there."""
    removed: bool = False
    """Some of it is not there."""


class Blocks:
    """One engine's, from its batches in order. A batch that comes for the first time is asked about by `arrived`, one
    that is told again is not; both are taken."""

    def __init__(self) -> None:
        self._next = 0
        self._newest = -1
        self._tokens: int | None = 0
        self._size = 0

    def __repr__(self) -> str:
        return f"<Blocks of {'?' if self._tokens is None else self._tokens} tokens before batch {self._next}>"

    def arrived(self, number: int) -> Holding | None:
        """A batch of this number has come; what that says by itself: numbers begin anew when an engine does."""
        again = number <= self._newest
        self._newest = number
        if not again:
            return None
        self._next, self._tokens = 0, 0
        return Holding(0, cleared=True)

    def missing(self, number: int) -> int | None:
        """The first that was lost before this one; None: none was."""
        return self._next if number > self._next else None

    def take(self, number: int, payload: bytes) -> Holding | None:
        """What it says; None for one that was taken before."""
        if number < self._next:
            return None
        if number > self._next:
            self._tokens = None
        self._next = number + 1
        events = events_of(payload)
        if events is None:
            self._tokens = None
            return Holding(None)
        cleared = removed = False
        for event in events:
            if event.kind == "cleared":
                self._tokens, cleared, removed = 0, True, False
            elif event.kind == "stored":
                self._size = event.size
                self._add(event.blocks)
            else:
                removed = True
                self._add(-event.blocks)
        return Holding(self._tokens, cleared, removed)

    def _add(self, blocks: int) -> None:
        """Fewer than none are held by no engine: something was not seen."""
        if self._tokens is not None:
            tokens = self._tokens + blocks * self._size
            self._tokens = tokens if tokens >= 0 else None


__all__ = ["MOST_BYTES", "Blocks", "Holding", "KvEvent", "events_of"]
