"""Governor: which setting of a model's engines a request gets, by what it was measured to gain.

Speculative decoding halves the time of an answer whose text repeats what came before it, and costs time where it does
not, or where the machine is busy with other sequences anyhow (2 to 3 times as fast at batch 1, 1.38 at 64; slower than
without it beyond that: vllm-project/vllm#4565). So nobody can say in general; it is measured for each tenant, by how
many requests run beside it on the same replica (powers of two), as the time that an answer took for each of its tokens,
from when it was sent. On the replica, since engines of a setting that few requests get have nearly nothing to do, and
would seem fast for that alone.

A setting is compared with the model's own endpoints by two bets (`stats.Worse`): that it is faster, that it is slower.
Whichever wins decides, with its certificate, and both begin anew, so that a change of traffic is found. Until then the
tenant goes by what was decided before a restart, by what holds for all tenants together, or by the neighbouring numbers
of requests (a gain does not grow with them), else requests that run alone alternate, and of others a few try the
setting (`UNKNOWN`): there it seldom gains. A few go the other way for ever (`EVERY`), else nothing would be learned any
more. They go one after the other, as many as run, so that what they meet on their replicas is what the rest meets on
its own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from math import log2
from typing import Final, Literal

import msgspec

from trimtab.core.models import Setting
from trimtab.foundations.stats import Certificate, Seen, Worse

Why = Literal["measured", "remembered", "measured for all", "neighbour", "exploring", "batch", "overhead"]

ALPHA: Final = 0.05
"""Probability that one decision is wrong."""
EVERY: Final = {True: 16, False: 32}
"""One of so many requests goes the other way, where the setting was found faster, and slower."""
BORROWED, WASTEFUL = 8, 64
"""The same where others' measurements decide, and where it proposed too much in vain."""
UNKNOWN: Final = {True: 2, False: 8}
"""The same where nothing decides: for requests that run alone, and for others."""
MOST_AT_ONCE: Final = 64
"""Requests one after the other that go the other way."""
WEIGHT: Final = 0.05
"""Of the newest answer, in means."""
LEAST_TOKENS: Final = 8
"""Shorter answers say more of their prompt than of the setting."""
MOST_CELLS: Final = 2048
"""About 3 KB each."""
ALL: Final = ""
"""In a tenant's place: all of them."""


_Key = tuple[str, str, str, int]
"""Model, setting, tenant, and the power of two of those beside it."""
_Known = tuple[bool | None, Why]
"""Whether a setting is faster, None where nobody knows, and what says so."""


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What a request gets. `setting` None: the model's own endpoints."""

    setting: str | None
    why: Why
    about: str
    """The setting that `gain` and `certificate` are about."""
    gain: float | None
    """Time for a token on the model's own endpoints, over that on the setting; None: one of them is not known."""
    certificate: Certificate | None
    """Of the last decision; None where others' measurements, or none, decided."""


class Gain(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided of a setting, as another process may go on with it: without the evidence, which was its own.

    `tenant` empty: all of them; `at`: the power of two of the requests that run beside one on its replica.
    """

    model: str
    setting: str
    tenant: str
    at: int
    faster: bool
    gain: float | None


class _Cell:
    """One setting beside the model's own endpoints, for one tenant or all, at one number of requests."""

    __slots__ = ("certificate", "faster", "means", "middle", "remembered", "slower", "standing", "turns")

    def __init__(self) -> None:
        self.faster, self.slower = Worse(0.0), Worse(0.0)
        self.standing: bool | None = None
        self.certificate: Certificate | None = None
        self.remembered: Gain | None = None
        """What `standing` comes from, until something was decided here."""
        self.turns = 0
        self.middle: float | None = None
        """log2 of ms a token of both; losses are octaves from it, cut at a half either way: gains are small, and who
        took thrice as long says no more than who took half as long again."""
        self.means: dict[bool, float] = {}
        """log2 of ms a token, with the setting and without."""

    def observe(self, on: bool, octave: float) -> None:
        if self.middle is None:
            self.middle = octave
        loss = min(max(0.5 + octave - self.middle, 0.0), 1.0)
        self.faster.observe(Seen("old" if on else "new", loss))
        self.slower.observe(Seen("new" if on else "old", loss))
        self.middle += WEIGHT * (octave - self.middle)
        self.means[on] = self.means.get(on, octave) + WEIGHT * (octave - self.means.get(on, octave))
        for test, found in ((self.faster, True), (self.slower, False)):
            if test.p_value <= ALPHA:
                self.standing, self.certificate, self.remembered = found, test.certificate(), None
                self.faster, self.slower = Worse(0.0), Worse(0.0)
                return

    @property
    def gain(self) -> float | None:
        on, off = self.means.get(True), self.means.get(False)
        if on is None or off is None:
            return self.remembered.gain if self.remembered is not None else None
        return float(2 ** (off - on))


class Governor:
    """Of all models. Nothing is known of a setting at the start."""

    def __init__(self) -> None:
        self._cells: OrderedDict[_Key, _Cell] = OrderedDict()
        self._wasted: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Governor of {len(self._cells)} cells>"

    def choose(
        self, model: str, settings: Mapping[str, Setting], tenant: str, running: int, replicas: int = 1
    ) -> Chosen | None:
        """For one more request while so many of the model run, which has so many `replicas` of its own; None: no
        setting is for this tenant. Of several that are faster it is the one that gains most, and one that is to be
        tried goes before."""
        own = {name: one for name, one in settings.items() if one.tenants is None or tenant in one.tenants}
        if not own:
            return None
        beside = running // max(1, replicas)
        known = {name: self._standing(model, name, tenant, beside) for name in own}
        doubted = BORROWED if any(standing for standing, _ in known.values()) else UNKNOWN[not beside]
        found = {
            name: self._judged((model, name, tenant, _bin(beside)), terms, running, known[name], doubted)
            for name, terms in own.items()
        }
        for name, one in found.items():
            if one.setting is not None and not known[name][0]:
                return one  # to be tried
        gaining = [one for name, one in found.items() if known[name][0]]
        return max(gaining or found.values(), key=lambda one: one.gain or 0.0)

    def observe(
        self,
        model: str,
        settings: Mapping[str, Setting],
        tenant: str,
        beside: int,
        setting: str | None,
        *,
        ms: float,
        tokens: int,
        wasted: int | None = None,
    ) -> None:
        """An answer of so many tokens took `ms` from when it was sent, on `setting`, to a replica where so many others
        ran. `wasted`: tokens proposed in vain; None: the engine did not tell. What says little is passed over."""
        if setting is not None and wasted is not None and tokens:
            for whose in (tenant, ALL):
                self._waste((model, setting, whose), wasted / tokens)
        if tokens < LEAST_TOKENS or ms <= 0:
            return
        octave = log2(ms / tokens)
        for name in settings if setting is None else (setting,):
            for whose in (tenant, ALL):
                self._cell((model, name, whose, _bin(beside))).observe(setting is not None, octave)

    def told(self, model: str, setting: str, wasted: float) -> None:
        """An engine has told of all its answers since the last time: tokens proposed in vain for each one written."""
        self._waste((model, setting, ALL), wasted)

    def decided(self) -> list[Gain]:
        """All that stands, for whoever goes on with it."""
        return [
            Gain(
                model=model,
                setting=name,
                tenant=tenant,
                at=at,
                faster=cell.standing,
                gain=None if cell.gain is None else round(cell.gain, 1),
            )
            for (model, name, tenant, at), cell in self._cells.items()
            if cell.standing is not None
        ]

    def remember(self, gains: Iterable[Gain]) -> None:
        """Go by what was decided before, where nothing has been decided here. It is put to the test as often as what
        holds for others."""
        for one in gains:
            cell = self._cell((one.model, one.setting, one.tenant, one.at))
            if cell.standing is None:
                cell.standing, cell.remembered = one.faster, one

    def wasted(self, model: str, setting: str, tenant: str) -> float | None:
        """Tokens proposed in vain for each one written, lately; None: nobody knows."""
        own = self._wasted.get((model, setting, tenant))
        return own if own is not None else self._wasted.get((model, setting, ALL))

    def _judged(self, key: _Key, terms: Setting, running: int, known: _Known, doubted: int) -> Chosen:
        """This setting, or the model's own endpoints beside it."""
        own, (model, name, tenant, _) = self._cell(key), key
        standing, why = known
        every = doubted if standing is None else EVERY[standing] if why == "measured" else BORROWED
        wasted = self.wasted(model, name, tenant) if terms.speculative else None
        if terms.most_running is not None and running >= terms.most_running:
            return Chosen(setting=None, why="batch", about=name, gain=own.gain, certificate=None)
        if wasted is not None and wasted > terms.overhead:
            standing, why, every = False, "overhead", WASTEFUL
        at_once = min(running + 1, MOST_AT_ONCE)
        flipped = own.turns % (every * at_once) >= (every - 1) * at_once
        own.turns += 1
        on = bool(standing) != flipped
        if flipped or standing is None:
            why = "exploring"
        certificate = own.certificate if why == "measured" else None
        setting = name if on else None
        return Chosen(setting=setting, why=why, about=name, gain=own.gain, certificate=certificate)

    def _standing(self, model: str, name: str, tenant: str, beside: int) -> _Known:
        """What is known of the gain: the tenant's own, everybody's, or that of other numbers of requests."""
        at = _bin(beside)
        own: Why = "measured"
        everybody: Why = "measured for all"
        for whose, why in ((tenant, own), (ALL, everybody)):
            found = self._cells.get((model, name, whose, at))
            if found is not None and found.standing is not None:
                return found.standing, why if found.remembered is None else "remembered"
        for number in range(_bin(MOST_BESIDE) + 1):
            found = self._cells.get((model, name, ALL, number))
            if found is not None and found.standing is (number > at):
                return found.standing, "neighbour"
        return None, "exploring"

    def _cell(self, key: _Key) -> _Cell:
        found = self._cells.get(key)
        if found is None:
            found = self._cells[key] = _Cell()
            if len(self._cells) > MOST_CELLS:
                self._cells.popitem(last=False)
        self._cells.move_to_end(key)
        return found

    def _waste(self, key: tuple[str, str, str], wasted: float) -> None:
        known = self._wasted.pop(key, wasted)
        self._wasted[key] = known + WEIGHT * (wasted - known)
        if len(self._wasted) > MOST_CELLS:
            self._wasted.popitem(last=False)


MOST_BESIDE: Final = 4096


def _bin(beside: int) -> int:
    """0 alone, 1 beside one, 2 beside two or three, 3 beside four to seven, ..."""
    return min(beside, MOST_BESIDE).bit_length()
