"""What a request finds at its accounts, and how it is told that this is not enough.

Messages name accounts and amounts of the caller's own tenant, never anybody else's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from trimtab.core.clock import NS_PER_S
from trimtab.core.errors import Code, Refusal
from trimtab.core.money import usd
from trimtab.dataplane.spend.lease import Hold

_UNSEEN_S = 1.0  # to wait for a busy budget of which no lease has ended yet
_SHORTEST_S = 0.05


class Look(NamedTuple):
    """One account as one request sees it: the limit, and the `room` that is there for this request."""

    hold: Hold
    limit: int
    room: int

    @property
    def unspent(self) -> int:
        """What there would be if all that is reserved came back."""
        return max(0, self.limit - self.hold.book.settled)

    def ends_s(self, wall_ns: int) -> float:
        """Until its period turns."""
        return (self.hold.book.window.end_ns - wall_ns) / NS_PER_S

    def never(self, least: int) -> bool:
        """Whether the next period will be no better: the whole budget is less than what is needed."""
        return self.hold.claim.limit(self.hold.book.window.end_ns) < least


def exhausted(spent: Sequence[Look], least: int, wall_ns: int) -> Refusal:
    """Names the account that is the last to have money again; no time is told where that is never."""
    look = max(spent, key=lambda look: (look.never(least), look.ends_s(wall_ns)))
    wait_s = None if look.never(least) else look.ends_s(wall_ns)
    return _refusal(Code.BUDGET_EXHAUSTED, look, least, wait_s, "reserved")


def used_up(looks: Sequence[Look], wall_ns: int) -> Refusal:
    """Of what is left no plan can be paid: names the account that has the least."""
    look = min(looks, key=lambda look: look.unspent)
    book, rule = look.hold.book, f"budget {look.hold.book.account.name}"
    message = (
        f"of {rule}'s ${usd(look.limit)} for {book.window.id}, ${usd(book.settled)} is spent: "
        f"the ${usd(look.unspent)} that is left pays for no answer to this prompt"
    )
    return Refusal(code=Code.BUDGET_EXHAUSTED, message=message, rule=rule, retry_after_s=look.ends_s(wall_ns))


def busy(short: Sequence[Look], least: int, ahead: int, wall_ns: int) -> Refusal:
    """Names the account with the least room. `ahead`: how many wait for money there.

    Of n leases that are held for t on average one ends every t / n (Little's law), and each serves one who waits.
    """
    look = min(short, key=lambda look: look.room)
    book = look.hold.book
    wait_s = _UNSEEN_S if book.held_ns is None else book.held_ns / NS_PER_S * (ahead + 1) / max(1, book.leases)
    wait_s = min(max(_SHORTEST_S, wait_s), look.ends_s(wall_ns))
    return _refusal(Code.BUDGET_BUSY, look, least, wait_s, "reserved by requests that still run")


def _refusal(code: Code, look: Look, least: int, wait_s: float | None, reserved: str) -> Refusal:
    book = look.hold.book
    rule = f"budget {book.account.name}"
    message = (
        f"of {rule}'s ${usd(look.limit)} for {book.window.id}, ${usd(book.settled)} is spent and "
        f"${usd(book.reserved)} {reserved}; the request needs ${usd(least)} at least"
    )
    return Refusal(code=code, message=message, rule=rule, retry_after_s=wait_s)
