"""Channels, messages and embedders for the classifier's tests."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import msgspec

from trimtab.core.clock import SystemClock
from trimtab.core.decision import Features
from trimtab.core.tenancy import Channel, Tenant
from trimtab.dataplane.classify import Classifier
from trimtab.foundations.embed import HashEmbedder, NanoEmbedder, Vectors

T = TypeVar("T")
LIBRARY = {
    "renew": ["I want to keep this book longer", "can I extend my loan", "renew the books that I borrowed"],
    "hours": ["when are you open", "what time do you close on Sundays", "are you open on public holidays"],
    "card": ["I lost my library card", "how do I get a new membership card", "my card does not work any more"],
    "room": ["book a study room", "is a group room free tomorrow", "reserve a quiet room for four people"],
}
GARDEN = {
    "water": ["wie oft muss ich gießen", "meine Pflanze bekommt zu viel Wasser", "wie viel Wasser braucht die Tomate"],
    "prune": ["wann schneide ich die Rosen", "wie schneidet man einen Apfelbaum", "Hecke zurückschneiden"],
    "pest": ["Blattläuse auf meinen Rosen", "was hilft gegen Schnecken", "weiße Fliegen an der Pflanze"],
}


def channel(**declared: Any) -> Channel:
    base = {
        "targets": {"latency": {"ttft_ms": 1, "itl_ms": 1, "e2e_ms": 1}, "quality": {"min": 0}},
        "cost": {"max_per_request_usd": "1"},
    }
    return msgspec.convert({**base, **declared}, Channel)


def tenant(languages: Sequence[str] = (), **channels: Channel) -> Tenant:
    return Tenant(id="t", channels=channels or {"c": channel()}, languages=list(languages))


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


class Counting(HashEmbedder):
    """Counts the texts that it is asked for; fails while `broken`."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.broken = False

    async def queries(self, texts: Sequence[str]) -> Vectors:
        if self.broken:
            raise RuntimeError("no engine")
        self.asked += texts
        return await super().queries(texts)


_nano = NanoEmbedder(SystemClock())


def nano() -> NanoEmbedder:
    """The real model, one for all tests of a process."""
    return _nano


_bare = Classifier(SystemClock(), None)


def said(text: Any, *, languages: Sequence[str] = (), before: Sequence[dict[str, Any]] = ()) -> Features:
    """What the quick path says of one user turn in a channel without intents."""
    who = tenant(languages)
    prepared = run(_bare.prepare({}))
    return _bare.quick((*before, user(text)), who, "c", who.channels["c"], prepared)


def run(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(main)
