"""python -m benchmarks.understanding: see README.md beside this file."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import os
import platform
import sys
import time
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

import msgspec
import numpy as np

from benchmarks.understanding.baseline import CharacterTfIdf
from benchmarks.understanding.sets import FILES, CannotReadError, Row, read, sampled
from trimtab.core.clock import SystemClock
from trimtab.core.tenancy import Channel, Tenant
from trimtab.dataplane.classify import Classifier, Name, Prepared
from trimtab.foundations.embed import NanoEmbedder

OUT_OF_SCOPE = "oos"
CANNOT_RUN = 2
PARTS = ("cost", "banking77", "clinc150", "xsid", "sib200", "language")
MEDIAN_US, P99_US = 300.0, 1500.0
INTENT: frozenset[Name] = frozenset({"intent"})
LANGUAGE: frozenset[Name] = frozenset({"language"})


class Sizes(NamedTuple):
    """How many of each label are learnt from and asked; 0 is all."""

    learn: int
    ask: int
    sib_learn: int
    sib_ask: int
    outside: int
    labels: int
    """Labels of a set that are taken."""


QUICK = Sizes(learn=8, ask=3, sib_learn=3, sib_ask=3, outside=60, labels=40)
USUAL = Sizes(learn=40, ask=10, sib_learn=120, sib_ask=40, outside=0, labels=0)


class Claim(msgspec.Struct):
    """`met`: ours reaches the target and, where one ran, is better than the baseline."""

    claim: str
    ours: float
    baseline: float | None
    ratio: float | None
    target: float
    met: bool | None


class Result(NamedTuple):
    nearest: list[str]
    outside: list[float]
    spelled: float


class Bench:
    def __init__(self, sizes: Sizes, given: dict[str, str]) -> None:
        self.sizes, self.given = sizes, given
        clock = SystemClock()
        self.embedder = NanoEmbedder(clock, recent=200_000)
        self.classifier = Classifier(clock, self.embedder)
        self.claims: list[Claim] = []
        self.notes: list[str] = []

    def higher(self, claim: str, ours: float, baseline: float | None, target: float) -> None:
        met = None if baseline is None else bool(ours >= target and ours > baseline)
        ratio = None if not baseline else round(ours / baseline, 4)
        self.claims.append(Claim(claim, round(ours, 4), baseline and round(baseline, 4), ratio, target, met))

    async def asked(self, learn: Sequence[Row], ask: Sequence[Row]) -> Result:
        """Every question through the public API, one by one, as requests come."""
        intents: dict[str, list[str]] = {}
        for row in learn:
            intents.setdefault(row.label, []).append(row.text)
        who = _tenant(intents=intents)
        prepared = await self.classifier.prepare({"t": who})
        nearest, outside, spelled = [], [], 0
        for row in ask:
            features = await self.classifier.classify(
                _said(row.text), who, "c", who.channels["c"], prepared, need=INTENT
            )
            because = (features.intent.because if features.intent else None) or {}
            nearest.append(because.get("nearest", ""))
            outside.append(because.get("out_of_scope", 1.0))
            spelled += because.get("by") == "spelling"
        return Result(nearest, outside, spelled / max(1, len(ask)))

    async def intents(self, name: str, target: float, target_outside: float | None = None) -> None:
        rows = read(name, self.given)
        if self.sizes.labels:
            labels = sorted({row.label for row in rows} - {OUT_OF_SCOPE})[::2][: self.sizes.labels]
            rows = [row for row in rows if row.label in {*labels, OUT_OF_SCOPE}]
        inside = [row for row in rows if row.label != OUT_OF_SCOPE]
        learn = sampled([row for row in inside if row.learn], self.sizes.learn)
        ask = sampled([row for row in inside if not row.learn], self.sizes.ask)
        outside = sampled([row for row in rows if row.label == OUT_OF_SCOPE], self.sizes.outside)
        floor = CharacterTfIdf([row.text for row in learn], [row.label for row in learn])
        scores = floor.scores([row.text for row in (*ask, *outside)])
        ours = await self.asked(learn, [*ask, *outside])
        self.higher(f"{name}: accuracy", *self._accuracies(ask, ours, floor, scores), target)
        if target_outside is not None and outside:
            truth = np.array([True] * len(ask) + [False] * len(outside))
            self.higher(
                f"{name}: out-of-scope AUROC",
                _auroc(-np.array(ours.outside), truth),
                _auroc(scores.max(axis=1), truth),
                target_outside,
            )
        self._note(name, learn, [*ask, *outside], ours, floor)

    async def xsid(self) -> None:
        rows = read("xsid", self.given)
        by_both = lambda row: f"{row.label} {row.language}"  # noqa: E731
        each = 4 if self.sizes is QUICK else 0
        learn = sampled([row for row in rows if row.learn], each, by_both)
        ask = sampled([row for row in rows if not row.learn], each // 2, by_both)
        if self.sizes is QUICK:
            learn, ask = learn[:300], ask[:150]
        for what, part in (
            ("over languages", learn),
            ("English examples only", [r for r in rows if r.learn and r.language == "en"]),
        ):
            floor = CharacterTfIdf([row.text for row in part], [row.label for row in part])
            ours = await self.asked(part, ask)
            found = self._accuracies(ask, ours, floor, floor.scores([row.text for row in ask]))
            self.higher(f"xsid: accuracy, {what}", *found, 0.873 if part is learn else 0.7)
            self._note(f"xsid {what}", part, ask, ours, floor)

    async def sib200(self) -> None:
        rows = read("sib200", self.given)
        learn = sampled([row for row in rows if row.learn], self.sizes.sib_learn, lambda row: row.language)
        ask = sampled([row for row in rows if not row.learn], self.sizes.sib_ask, lambda row: row.language)
        floor = CharacterTfIdf([row.text for row in learn], [row.label for row in learn])
        ours = await self.asked(learn, ask)
        found = self._accuracies(ask, ours, floor, floor.scores([row.text for row in ask]))
        self.higher("sib200: topic accuracy over languages", *found, 0.685)
        self._note("sib200", learn, ask, ours, floor)

    async def languages(self) -> None:
        rows = read("sib200", self.given)
        learn = sampled([row for row in rows if row.learn], 100, lambda row: row.language)
        ask = [row for row in rows if not row.learn]
        floor = CharacterTfIdf([row.text for row in learn], [row.language for row in learn])
        declared = sorted({row.language for row in rows})
        whole: tuple[float, float] = (0.0, 0.0)
        for cut, target in ((None, 0.9997), (40, 0.97), (15, 0.8)):
            texts = [row.text[:cut] for row in ask]
            who = _tenant(languages=declared)
            right = 0
            for row, text in zip(ask, texts, strict=True):
                features = self.classifier.quick(_said(text), who, "c", who.channels["c"], Prepared({}), need=LANGUAGE)
                right += features.language is not None and features.language.value == row.language
            best = floor.scores(texts).argmax(axis=1)
            theirs = float(np.mean([floor.labels[b] == row.language for b, row in zip(best, ask, strict=True)]))
            whole = right / len(ask), theirs
            self.higher(
                f"language id: {'whole sentences' if cut is None else f'first {cut} characters'}", *whole, target
            )
        self.notes.append(
            f"language id: {len(ask)} sentences; the baseline knows {len(declared)} languages and was trained on this "
            "very corpus, ours tells 176 apart and was told the declared ones"
        )

    async def cost(self) -> None:
        """CPU time of the quick path beside one embedding a request, on the questions of banking77."""
        rows = sampled(read("banking77", self.given), 20)
        learn, ask = sampled([row for row in rows if row.learn], 5), [row.text for row in rows if not row.learn]
        intents: dict[str, list[str]] = {}
        for row in learn:
            intents.setdefault(row.label, []).append(row.text)
        few = dict(list(intents.items())[:10])
        for what, who in (("without intents", _tenant()), ("with 10 intents", _tenant(intents=few))):
            prepared = await self.classifier.prepare({"t": who})
            took = []
            for number, text in enumerate(ask * (1 + 2000 // len(ask))):
                said = _said(f"{text} {number}")  # a turn that was seen before would be looked up
                began = time.process_time_ns()
                self.classifier.quick(said, who, "c", who.channels["c"], prepared)
                took.append((time.process_time_ns() - began) / 1000)
            if what == "without intents":
                embedded = await self._embedding_us(ask[:40])
            for name, ours, target in (
                ("median", median(took), MEDIAN_US),
                ("p99", float(np.quantile(took, 0.99)), P99_US),
            ):
                met = ours <= target and ours < embedded
                claim = f"quick path {what}: CPU us a request, {name} (less is better)"
                self.claims.append(
                    Claim(claim, round(ours, 1), round(embedded, 1), round(ours / embedded, 4), target, met)
                )

    async def _embedding_us(self, texts: Sequence[str]) -> float:
        fresh = NanoEmbedder(SystemClock())
        await fresh.warm()
        took = []
        for text in texts:
            began = time.process_time_ns()
            await fresh.queries([text])
            took.append((time.process_time_ns() - began) / 1000)
        return median(took)

    def _accuracies(self, ask: Sequence[Row], ours: Result, floor: CharacterTfIdf, scores: Any) -> tuple[float, float]:
        mine = [found == row.label for found, row in zip(ours.nearest, ask, strict=False)]
        best = scores[: len(ask)].argmax(axis=1)
        theirs = [floor.labels[number] == row.label for number, row in zip(best, ask, strict=True)]
        return float(np.mean(mine)), float(np.mean(theirs))

    def _note(self, name: str, learn: Sequence[Row], ask: Sequence[Row], ours: Result, floor: CharacterTfIdf) -> None:
        self.notes.append(
            f"{name}: {len(learn)} examples of {len(floor.labels)} labels, {len(ask)} questions, {ours.spelled:.0%} "
            f"of them settled by spelling; the baseline's ridge is {floor.strength}"
        )


def _tenant(*, intents: dict[str, list[str]] | None = None, languages: Sequence[str] = ()) -> Tenant:
    """Labels of the sets are no names of a workspace, so nothing is validated here."""
    targets = {"latency": {"ttft_ms": 1, "itl_ms": 1, "e2e_ms": 1}, "quality": {"min": 0}}
    channel = msgspec.convert({"targets": targets, "cost": {"max_per_request_usd": "1"}}, Channel)
    channel = msgspec.structs.replace(channel, intents=intents or {})
    return Tenant(id="t", channels={"c": channel}, languages=list(languages))


def _said(text: str) -> tuple[dict[str, Any], ...]:
    return ({"role": "user", "content": text},)


def _auroc(scores: Any, truth: Any) -> float:
    """With ties counted half."""
    inside, outside = np.sort(scores[truth]), scores[~truth]
    less = np.searchsorted(inside, outside, "left") + np.searchsorted(inside, outside, "right")
    return float(1 - less.mean() / (2 * len(inside)))


async def _measure(sizes: Sizes, given: dict[str, str], only: Sequence[str]) -> Bench:
    bench = Bench(sizes, given)
    for what, run in (
        ("cost", bench.cost),
        ("banking77", lambda: bench.intents("banking77", 0.895)),
        ("clinc150", lambda: bench.intents("clinc150", 0.922, 0.928)),
        ("xsid", bench.xsid),
        ("sib200", bench.sib200),
        ("language", bench.languages),
    ):
        if only and what not in only:
            continue
        began = time.monotonic()
        await run()
        print(f"{what}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    if sizes.labels:
        bench.notes.append("--quick: a sample; targets are for the whole sets, so a miss here says little")
    return bench


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when it was measured (whatever the claims say), 2 when it can't be."""
    given = _parse(arguments)
    sizes = QUICK if given.quick else USUAL._replace(learn=given.per_label)
    data = dict(one.split("=", 1) for one in given.data if "=" in one)
    unknown = [one for one in given.data if one.split("=", 1)[0] not in FILES or "=" not in one]
    if unknown:
        print(
            f"understanding: --data takes NAME=FILE with NAME of {', '.join(FILES)}, got {unknown[0]}", file=sys.stderr
        )
        return CANNOT_RUN
    try:
        bench = asyncio.run(_measure(sizes, data, given.only))
    except CannotReadError as error:
        print(f"understanding: {error}", file=sys.stderr)
        return CANNOT_RUN
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    if given.json:
        whole = {"date": date, "machine": machine, "quick": given.quick, "claims": bench.claims, "notes": bench.notes}
        print(msgspec.json.encode(whole).decode())
        return 0
    print(f"{date}, {machine}\n\n| claim | ours | baseline | ratio | target | met |\n|---|---|---|---|---|---|")
    for one in bench.claims:
        print(f"| {one.claim} | {one.ours} | {one.baseline} | {one.ratio} | {one.target} | {_yes(one.met)} |")
    print("\n" + "\n".join(f"- {note}" for note in bench.notes))
    return 0


def _yes(met: bool | None) -> str:
    return "not run" if met is None else "yes" if met else "no"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.understanding", description="Intents, languages and what telling them costs."
    )
    parser.add_argument("--quick", action="store_true", help="samples, within a minute")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument(
        "--data", action="append", default=[], metavar="NAME=FILE", help="another file with a set's columns"
    )
    parser.add_argument(
        "--per-label", type=int, default=USUAL.learn, help="examples learnt from, of each label; 0 is all (40)"
    )
    parser.add_argument("--only", action="append", default=[], choices=PARTS, help="this part alone; may be repeated")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
