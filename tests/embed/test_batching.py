"""Batches form by themselves, are fair, and hold nothing of those who left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pytest

from trimtab.core.clock import SystemClock
from trimtab.foundations.embed import HashEmbedder, Vectors
from trimtab.foundations.embed.base import Kind
from trimtab.foundations.embed.batching import MAX_CHARACTERS, MAX_TEXTS, Batcher
from trimtab.surfaces.twin import VirtualLoop

P = ParamSpec("P")
T = TypeVar("T")


class Gate(SystemClock):
    """A clock whose offloaded work waits until it is let through: the test says how long the engine takes."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.began = asyncio.Event()

    async def offload(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self.began.set()
        await self.open.wait()
        return fn(*args, **kwargs)


class Engine:
    """Counts its calls; the vector of a text is made of its own characters."""

    def __init__(self) -> None:
        self.calls: list[tuple[Kind, list[str]]] = []
        self.fails = 0

    def __call__(self, kind: Kind, texts: list[str]) -> Vectors:
        self.calls.append((kind, texts))
        if self.fails:
            self.fails -= 1
            raise RuntimeError("the engine is broken")
        return np.array([[len(text), sum(map(ord, text)), kind == "query"] for text in texts], np.float32)


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return asyncio.run(main())


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_what_comes_meanwhile_goes_into_the_next_call() -> None:
    """While the engine works requests gather, and one call serves them all, in their own order."""

    async def main() -> None:
        gate, engine = Gate(), Engine()
        batcher = Batcher(gate, engine, 3)
        first = asyncio.create_task(batcher.vectors("query", ["a"]))
        await gate.began.wait()
        later = [asyncio.create_task(batcher.vectors("query", [text, "x"])) for text in ("b", "c", "d")]
        await settle()
        gate.open.set()
        await first
        rows = [await task for task in later]
        assert [texts for _, texts in engine.calls] == [["a"], ["b", "c", "d", "x"]]
        assert [int(row[0, 1]) for row in rows] == [ord("b"), ord("c"), ord("d")]
        assert {int(row[1, 1]) for row in rows} == {ord("x")}
        assert repr(batcher) == "<Batcher 0 calls and 0 texts wait, 5 vectors kept>"

    run(main)


def test_a_single_question_is_not_behind_a_long_list() -> None:
    """A question is in the round after the one under way, whatever a list before it still needs."""

    async def main() -> None:
        gate, engine = Gate(), Engine()
        batcher = Batcher(gate, engine, 3)
        many = asyncio.create_task(batcher.vectors("query", [f"p{n}" for n in range(40)]))
        await gate.began.wait()
        one = asyncio.create_task(batcher.vectors("query", ["q"]))
        again = asyncio.create_task(batcher.vectors("query", ["p39"]))
        await settle()
        gate.open.set()
        await asyncio.gather(many, one, again)
        assert "q" in engine.calls[1][1]
        assert "p39" in engine.calls[1][1]
        assert all(len(texts) <= MAX_TEXTS for _, texts in engine.calls)
        assert sorted(text for _, texts in engine.calls for text in texts) == sorted(
            ["q", *(f"p{n}" for n in range(40))]
        )

    run(main)


def test_kinds_go_apart_and_neither_starves() -> None:
    """A call of the engine has texts of one kind; the other kind is next."""

    async def main() -> None:
        gate, engine = Gate(), Engine()
        batcher = Batcher(gate, engine, 3)
        passages = asyncio.create_task(batcher.vectors("passage", [f"p{n}" for n in range(40)]))
        await gate.began.wait()
        question = asyncio.create_task(batcher.vectors("query", ["q", "p0"]))
        await settle()
        gate.open.set()
        rows = await question
        assert rows[:, 2].tolist() == [1, 1]
        await passages
        assert [kind for kind, _ in engine.calls[:3]].count("query") == 1
        assert all(len({kind}) == 1 for kind, _ in engine.calls)

    run(main)


def test_rounds_are_bounded_in_characters() -> None:
    """Long texts are not taken eight at a time; one alone is taken however long it is."""

    async def main() -> None:
        engine = Engine()
        batcher = Batcher(SystemClock(), engine, 3)
        texts = [chr(97 + n) * (MAX_CHARACTERS // 2) for n in range(5)] + ["z" * (MAX_CHARACTERS + 1)]
        await batcher.vectors("query", texts)
        assert [len(batch) for _, batch in engine.calls] == [2, 2, 1, 1]

    run(main)


def test_known_vectors_cost_no_call_and_the_oldest_go() -> None:
    """A text of lately is answered from memory, whoever asked; memory is bounded, and used ones stay."""

    async def main() -> None:
        engine = Engine()
        batcher = Batcher(SystemClock(), engine, 3, recent=2)
        for text in ("a", "b", "a", "c", "a"):
            await batcher.vectors("query", [text])
        assert [texts for _, texts in engine.calls] == [["a"], ["b"], ["c"]]
        await batcher.vectors("query", ["b"])
        assert engine.calls[-1] == ("query", ["b"])
        assert repr(batcher) == "<Batcher 0 calls and 0 texts wait, 2 vectors kept>"

    run(main)


def test_who_leaves_takes_along_what_only_it_wanted() -> None:
    """After a cancellation its texts are never embedded, those that others want are, and nothing is left."""

    async def main() -> None:
        gate, engine = Gate(), Engine()
        batcher = Batcher(gate, engine, 3)
        first = asyncio.create_task(batcher.vectors("query", ["a"]))
        await gate.began.wait()
        leaves = asyncio.create_task(batcher.vectors("query", ["only mine", "shared"]))
        stays = asyncio.create_task(batcher.vectors("query", ["shared"]))
        await settle()
        leaves.cancel()
        first.cancel()
        await settle()
        gate.open.set()
        assert (await stays)[0, 0] == len("shared")
        assert [texts for _, texts in engine.calls] == [["a"], ["shared"]]
        assert leaves.cancelled()
        assert first.cancelled()
        await settle()
        assert repr(batcher) == "<Batcher 0 calls and 0 texts wait, 2 vectors kept>"

    run(main)


def test_a_failure_reaches_those_it_concerns() -> None:
    """Who waited for the failed round hears of it; the next round works, and nothing hangs."""

    async def main() -> None:
        gate, engine = Gate(), Engine()
        engine.fails = 1
        batcher = Batcher(gate, engine, 3)
        first = asyncio.create_task(batcher.vectors("query", ["a"]))
        await gate.began.wait()
        second = asyncio.create_task(batcher.vectors("query", ["b"]))
        await settle()
        gate.open.set()
        with pytest.raises(RuntimeError, match="the engine is broken"):
            await first
        assert (await second)[0, 1] == ord("b")
        assert (await batcher.vectors("query", ["a"]))[0, 1] == ord("a")
        assert repr(batcher) == "<Batcher 0 calls and 0 texts wait, 2 vectors kept>"

    run(main)


def test_a_long_list_that_fails_midway_ends() -> None:
    """A caller with several rounds hears of the first failure, and its other texts are not worked on for nobody."""

    async def main() -> None:
        engine = Engine()
        engine.fails = 1
        batcher = Batcher(SystemClock(), engine, 3)
        with pytest.raises(RuntimeError):
            await batcher.vectors("query", [f"t{n}" for n in range(30)])
        await settle()
        assert repr(batcher) == "<Batcher 0 calls and 0 texts wait, 0 vectors kept>"
        assert len(engine.calls) == 1

    run(main)


def test_the_engine_is_off_the_event_loop_and_never_twice_at_once() -> None:
    """Live, the engine runs in another thread, one call at a time."""
    inside: list[int] = []
    most = 0
    threads = set()

    def encode(kind: Kind, texts: list[str]) -> Vectors:
        nonlocal most
        inside.append(1)
        most = max(most, len(inside))
        threads.add(threading.get_ident())
        rows = np.ones((len(texts), 2), np.float32)
        inside.pop()
        return rows

    async def main() -> None:
        batcher = Batcher(SystemClock(), encode, 2)
        await asyncio.gather(*(batcher.vectors("query", [f"{n}-{m}" for m in range(9)]) for n in range(9)))

    run(main)
    assert most == 1
    assert threading.get_ident() not in threads


def test_on_virtual_time_no_thread_is_used() -> None:
    """The same batcher runs on a virtual loop, which has no threads, and batches there too."""
    engine = Engine()
    loop = VirtualLoop()

    async def main() -> None:
        batcher = Batcher(loop.clock, engine, 3)
        await asyncio.gather(*(batcher.vectors("query", [text]) for text in "abcd"))

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert engine.calls == [("query", ["a", "b", "c", "d"])]


def test_no_texts_give_no_rows() -> None:
    """Nothing asked is nothing answered, of the right width, and no call."""
    engine = Engine()
    rows = run(lambda: Batcher(SystemClock(), engine, 3).vectors("query", []))
    assert rows.shape == (0, 3)
    assert engine.calls == []
    assert run(lambda: HashEmbedder(8).queries([])).shape == (0, 8)
