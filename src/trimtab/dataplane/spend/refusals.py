"""What a request finds at its accounts, and how it is told that this is not enough.

Messages name accounts and amounts of the caller's own tenant, never anybody else's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from trimtab.core.clock import NS_PER_S
from trimtab.core.errors import Code, Refusal
from trimtab.core.money import usd
from trimtab.dataplane.spend.accounts import Claim
from trimtab.dataplane.spend.base import Level, Place

_UNSEEN_S = 1.0  # to wait for a busy budget of which no lease has ended yet
_SHORTEST_S = 0.05


class Look(NamedTuple):
    """One account as one request sees it."""

    claim: Claim
    place: Place
    level: Level

    @property
    def limit(self) -> int:
        return self.place.limit

    @property
    def room(self) -> int:
        """What is there for this request."""
        room = max(0, self.limit - self.level.used)
        return room if self.place.most is None else min(room, self.place.most)

    @property
    def unspent(self) -> int:
        """What there would be if all that is reserved came back."""
        return max(0, self.limit - self.level.settled - self.level.doubt)

    def ends_s(self, wall_ns: int) -> float:
        """Until its period turns."""
        return (self.place.window.end_ns - wall_ns) / NS_PER_S

    def never(self, least: int) -> bool:
        """Whether the next period will be no better: the whole budget is less than what is needed."""
        return self.claim.limit(self.place.window.end_ns) < least


def exhausted(spent: Sequence[Look], least: int, wall_ns: int) -> Refusal:
    """Names the account that is the last to have money again; no time is told where that is never."""
    look = max(spent, key=lambda look: (look.never(least), look.ends_s(wall_ns)))
    wait_s = None if look.never(least) else look.ends_s(wall_ns)
    return _refusal(Code.BUDGET_EXHAUSTED, look, least, wait_s, "reserved")


def used_up(looks: Sequence[Look], wall_ns: int) -> Refusal:
    """Of what is left no plan can be paid: names the account that has the least."""
    look = min(looks, key=lambda look: look.unspent)
    message = (
        f"of {_rule(look)}'s ${usd(look.limit)} for {look.place.window.id}, {_spent(look)}: "
        f"the ${usd(look.unspent)} that is left pays for no answer to this prompt"
    )
    wait_s = look.ends_s(wall_ns)
    return Refusal(code=Code.BUDGET_EXHAUSTED, message=message, rule=_rule(look), retry_after_s=wait_s)


def busy(short: Sequence[Look], least: int, ahead: int, wall_ns: int) -> Refusal:
    """Names the account with the least room. `ahead`: how many wait for money there.

    Of n leases that are held for t on average one ends every t / n (Little's law), and each serves one who waits.
    """
    look = min(short, key=lambda look: look.room)
    held_ns, leases = look.claim.held_ns, look.claim.leases
    wait_s = _UNSEEN_S if held_ns is None else held_ns / NS_PER_S * (ahead + 1) / max(1, leases)
    wait_s = min(max(_SHORTEST_S, wait_s), look.ends_s(wall_ns))
    return _refusal(Code.BUDGET_BUSY, look, least, wait_s, "reserved by requests that still run")


def _refusal(code: Code, look: Look, least: int, wait_s: float | None, reserved: str) -> Refusal:
    message = (
        f"of {_rule(look)}'s ${usd(look.limit)} for {look.place.window.id}, {_spent(look)} and "
        f"${usd(look.level.reserved)} {reserved}; the request needs ${usd(least)} at least"
    )
    return Refusal(code=code, message=message, rule=_rule(look), retry_after_s=wait_s)


def _rule(look: Look) -> str:
    return f"budget {look.claim.account.name}"


def _spent(look: Look) -> str:
    """What is in doubt counts as spent, and is named."""
    spent = f"${usd(look.level.settled)} is spent"
    return f"{spent}, ${usd(look.level.doubt)} in doubt after a crash" if look.level.doubt else spent
