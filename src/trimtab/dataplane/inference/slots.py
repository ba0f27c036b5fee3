"""Slots of an embedded engine, each kept to one tenant at a time.

llama.cpp begins a prompt where the one before it in the same slot agrees with it, whoever sent that: who measures time
to first token learns what others have asked (PROMPTPEEK, NDSS 2025). So the gateway says which slot a request gets, and
lets the engine reuse what is there only where the last prompt of the slot was the same tenant's. A slot that changes
hands is taken in from the first token on. Within a tenant the free slot whose last prompt agrees longest is taken.

A shadow is nobody's request: it takes a slot that nobody has used, or that a shadow of the same tenant has, and none
where there is neither. What a tenant's slot holds it neither goes on from nor drops, and its own is the first to be had
by a tenant that finds no unused one.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trimtab.dataplane.inference.prefix import Prompt


class Lot(msgspec.Struct, frozen=True):
    """What a request gets. `slot` None: whichever the engine has; `reuse`: what stands there may be gone on from."""

    slot: int | None
    reuse: bool


NO_SLOT = Lot(None, False)


class Sender(msgspec.Struct, frozen=True):
    """Whose prompt it is. `aside`: a shadow's."""

    tenant: str
    prompt: Prompt
    aside: bool = False

    @property
    def owner(self) -> str:
        """Who a slot is kept for; no tenant's name has a slash in it."""
        return f"shadow/{self.tenant}" if self.aside else self.tenant


class Slots:
    """Of one engine, as far as this gateway has them: of N gateways the W-th has each N-th one.

    A request without a slot of its own (several choices; an attempt too many; more gateways than
    slots; nobody says whose it is) is put by the
    engine where it likes. While one runs nothing is reused, and when it has ended nothing is known of any slot.
    """

    def __init__(self, count: int, worker: int = 0, workers: int = 1) -> None:
        own = range(worker, count, workers) if count >= workers else range(0)
        self._free: dict[int, None] = dict.fromkeys(own)
        """The one that is free for longest comes first."""
        self._last: dict[int, tuple[str, Sequence[bytes]]] = {}
        """Tenant and blocks of the last prompt that was put there."""
        self._astray = 0
        """Requests that run in a slot which nobody has told us of."""

    def __repr__(self) -> str:
        return f"<Slots {len(self._free)} free, {len(self._last)} used before>"

    def take(self, sender: Sender | None, choices: int = 1) -> Lot:
        """A slot for this prompt, and whether it may begin from what is there."""
        if sender is None or not self._free or choices > 1:
            self._astray += 1
            return NO_SLOT
        owner, blocks = sender.owner, sender.prompt.blocks
        own, fresh = self._own(owner), self._fresh()
        if own:
            slot = max(own, key=lambda one: _agree(self._last[one][1], blocks))
            if fresh is not None and not _agree(self._last[slot][1], blocks):
                slot = fresh  # what the tenant's other conversations hold stays there
        else:
            slot = fresh if fresh is not None else self._taken_over()
        reuse = slot in own and not self._astray
        del self._free[slot]
        self._last[slot] = (owner, blocks)
        return Lot(slot, reuse)

    def has_spare(self, sender: Sender, choices: int = 1) -> bool:
        """Whether `take` would have a slot for this shadow that no tenant has anything in."""
        return choices == 1 and (bool(self._own(sender.owner)) or self._fresh() is not None)

    def _own(self, owner: str) -> list[int]:
        return [slot for slot in self._free if slot in self._last and self._last[slot][0] == owner]

    def _fresh(self) -> int | None:
        """A slot in which nobody has anything that could be gone on from."""
        return next((slot for slot in self._free if slot not in self._last), None)

    def _taken_over(self) -> int:
        """Of what others have left, a shadow's first, then what is free for longest."""
        shadows = (slot for slot in self._free if self._last[slot][0].startswith("shadow/"))
        return next(shadows, next(iter(self._free)))

    def give_back(self, lot: Lot) -> None:
        if lot.slot is not None:
            self._free[lot.slot] = None
            return
        self._astray -= 1
        self._last.clear()


def _agree(one: Sequence[bytes], other: Sequence[bytes]) -> int:
    """Blocks that two prompts have in common, from the first on."""
    count = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def with_lot(data: bytes, lot: Lot) -> bytes:
    """A request's JSON object that says where it goes."""
    place = b"" if lot.slot is None else b',"id_slot":%d' % lot.slot
    return data[:-1] + place + (b',"cache_prompt":true}' if lot.reuse else b',"cache_prompt":false}')
