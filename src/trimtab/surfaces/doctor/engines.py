"""One embedded engine by itself: started for the purpose, asked by a schedule of prompts and answers, and ended.

The schedule goes round while there is time, with longer prompts each time. Prompts alone come as new, known, and known
but for their end; answers alone and together, behind short prompts and long ones; prompts beside answers. Some steps
are held out: their numbers of answers and lengths of prompts are in no other step.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any, Final

import msgspec

from trimtab.core.clock import NS_PER_S, Clock
from trimtab.dataplane.inference import Origin
from trimtab.dataplane.inference.adapters import Http1Dialer
from trimtab.surfaces.doctor.fitted import fitted
from trimtab.surfaces.doctor.measured import Decode, EngineFigures, Prefill
from trimtab.surfaces.doctor.passes import Answered, Seen, passes
from trimtab.surfaces.processes import EngineSpec
from trimtab.surfaces.processes.channel import EngineFailed, EngineReady, Run, ToSupervisor
from trimtab.surfaces.processes.child import Child
from trimtab.surfaces.processes.supervisor import ENGINE_MODULE

START_S: Final = 30.0
ANSWER_TOKENS: Final = 17
"""Of each answer: four spans of passes."""
LATE_TOKENS: Final = 3
"""Of the answers beside which a prompt comes, before it does."""
ALWAYS: Final = 3
"""Steps that are taken whatever the time."""
_GRACE_S: Final = 2.0


class EngineError(Exception):
    """The engine could not be started, or answered with an error."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """So many answers at once behind prompts of so many words. `late`: words of one more prompt, which comes while they
    answer; `again`: the same prompt once more, and then with some words behind it."""

    streams: int
    words: int
    late: int = 0
    again: bool = False
    held_out: bool = False


def schedule(slots: int, context: int) -> Iterator[Step]:
    """For ever; prompts fit into the context."""
    most, turn = context // 3, 0
    while True:
        for step in _round(slots):
            if step.streams + (step.late > 0) <= slots:
                words = step.words + 11 * turn % 64
                yield msgspec.structs.replace(step, words=min(words, most), late=min(step.late, most))
        turn += 1


def _round(slots: int) -> list[Step]:
    half, beside = (slots + 1) // 2, max(1, slots - 1)
    return [
        Step(streams=1, words=150, again=True),
        Step(streams=slots, words=12),
        Step(streams=beside, words=12, late=60),
        Step(streams=1, words=40, again=True),
        Step(streams=1, words=90, again=True, held_out=True),
        Step(streams=beside, words=30, held_out=True),
        Step(streams=half, words=60),
        Step(streams=1, words=300, again=True),
        Step(streams=half, words=20, late=36, held_out=True),
        Step(streams=1, words=24, late=120),
        Step(streams=slots, words=45, held_out=True),
        Step(streams=slots, words=75),
        Step(streams=1, words=200, again=True, held_out=True),
    ]


async def measure_engine(spec: EngineSpec, folder: Path, clock: Clock, share_s: float) -> EngineFigures:
    """In about so many seconds, its start included. Raises EngineError, UpstreamError, OSError, TimeoutError."""
    until_ns = clock.now_ns() + int(share_s * NS_PER_S)
    key, said = secrets.token_urlsafe(32), asyncio.get_running_loop().create_future()

    def hear(message: ToSupervisor) -> None:
        if not said.done():
            said.set_result(message)

    child = await Child.start(["-m", ENGINE_MODULE, "--workspace", str(folder)], hear, printed=lambda line: None)
    dialer = Http1Dialer(max_idle=0)  # llama.cpp closes the connection behind a stream, and does not say so
    try:
        child.tell(Run(spec=spec, api_key=key))
        async with asyncio.timeout(START_S):
            message = await said
        if isinstance(message, EngineFailed):
            raise EngineError(message.reason)
        assert isinstance(message, EngineReady)
        asking = _Asking(dialer, Origin.parse(message.url, private=True), key, clock)
        return await _figures(spec, asking, clock, until_ns)
    finally:
        await dialer.close()
        await child.stop(_GRACE_S)


async def _figures(spec: EngineSpec, asking: _Asking, clock: Clock, until_ns: int) -> EngineFigures:
    await asking.answer("warm up", 8, 2)
    prefills: list[Prefill] = []
    seen: list[Seen] = []
    longest_ns = 0
    for number, step in enumerate(schedule(spec.slots, spec.context)):
        began_ns = clock.now_ns()
        if number >= ALWAYS and began_ns + longest_ns // 2 >= until_ns:  # the next one would likely end too late
            break
        for answers in await asking.take(step, number):
            seen += passes(answers, held_out=step.held_out)
            if step.again:
                prefills += [_prefill(one) for one in answers]
        longest_ns = max(longest_ns, clock.now_ns() - began_ns)
    return EngineFigures(
        engine=spec.name,
        model=spec.model,
        threads=spec.threads,
        prefills=prefills,
        decodes=decodes(seen),
        passes=seen,
        fitted=fitted(seen),
    )


def decodes(seen: list[Seen]) -> list[Decode]:
    """By the number of answers at once, the mean pace."""
    by_streams: dict[int, list[float]] = {}
    for one in seen:
        if not one.is_first_token:
            by_streams.setdefault(int(one.sample.running), []).append(one.sample.ms)
    return [
        Decode(streams=streams, tokens_per_s=1000 / mean(each), total_tokens_per_s=1000 * streams / mean(each))
        for streams, each in sorted(by_streams.items())
    ]


def _prefill(answered: Answered) -> Prefill:
    return Prefill(
        tokens=answered.prompt + answered.cached,
        cached=answered.cached,
        first_token_ms=answered.first_token_ms,
        read_ms=answered.read_ms,
    )


class _Asking:
    """Requests to one engine."""

    def __init__(self, dialer: Http1Dialer, origin: Origin, key: str, clock: Clock) -> None:
        self._dialer, self._origin, self._clock = dialer, origin, clock
        self._headers = (("authorization", f"Bearer {key}"), ("content-type", "application/json"))

    async def take(self, step: Step, number: int) -> list[list[Answered]]:
        """The answers of one step, each list of those that ran together."""
        text = f"number {number}"
        if step.again:
            longer = (step.words, step.words, step.words + 30)
            return [[await self.answer(text, words, ANSWER_TOKENS)] for words in longer]
        under_way = asyncio.Event()
        tokens = ANSWER_TOKENS + (LATE_TOKENS if step.late else 0)
        asked = [
            asyncio.ensure_future(self.answer(f"{text}, story {one}", step.words, tokens, under_way))
            for one in range(step.streams)
        ]
        try:
            if step.late:
                await under_way.wait()
                asked.append(asyncio.ensure_future(self.answer(f"{text} at last", step.late, 1)))
            return [list(await asyncio.gather(*asked))]
        finally:
            for one in asked:
                one.cancel()

    async def answer(self, opening: str, words: int, tokens: int, under_way: asyncio.Event | None = None) -> Answered:
        """So many tokens behind a prompt of so many words that begins with `opening`. `under_way` is set once some have
        come."""
        prompt = " ".join([opening, *(["and so on"] * (words // 3))])
        body = {"prompt": prompt, "n_predict": tokens, "ignore_eos": True, "cache_prompt": True, "temperature": 0}
        body |= {"stream": True, "timings_per_token": True}
        began_ns = self._clock.now_ns()
        sent = await self._dialer.send(self._origin, "POST", "/completion", self._headers, msgspec.json.encode(body))
        if sent.status != 200:
            await sent.read_all(1 << 20)
            raise EngineError(f"it answered {sent.status}")
        came_ns: list[int] = []
        timings: dict[str, Any] = {}
        rest = b""
        async for piece in sent:
            now_ns = self._clock.now_ns()
            *events, rest = (rest + piece).split(b"\n\n")
            for event in events:
                timings = msgspec.json.decode(event.removeprefix(b"data: ")).get("timings") or timings
                came_ns += [now_ns] * (int(timings.get("predicted_n") or 0) - len(came_ns))
                if under_way is not None and len(came_ns) >= LATE_TOKENS:
                    under_way.set()
        if not came_ns:
            raise EngineError("its answer has no timings")
        return Answered(
            sent_ns=began_ns,
            prompt=max(1, int(timings["prompt_n"])),
            cached=int(timings.get("cache_n") or 0),
            read_ms=float(timings["prompt_ms"]),
            came_ns=came_ns,
        )


__all__ = ["EngineError", "Step", "decodes", "measure_engine", "schedule"]
