"""python -m benchmarks.retrieval: see README.md beside this file."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.grounded.data import read
from benchmarks.sets import AbsentError
from trimtab.controlplane.evaluate import Question, read_golden
from trimtab.controlplane.evaluate.grade import fold
from trimtab.controlplane.registry import load, write_example
from trimtab.core.clock import SystemClock
from trimtab.dataplane.guard.grounded import Checker, Evidence, best_quote, in_scope, sentences
from trimtab.dataplane.retrieval import Corpus, Passage, build, read_corpus
from trimtab.dataplane.retrieval.lexical import Bm25
from trimtab.foundations.embed import Embedder, create_embedder

LANGUAGES = ("en", "de", "es", "ar")
SCOPES = (0.5, 0.65, 0.7, 0.8)
METHODS = ("ours", "vectors", "rank fusion", "words")
_FUSION, _DEPTH = 60, 30


class Asked(NamedTuple):
    """`right`: ids of the passages that hold the answer; empty where none does."""

    question: str
    vector: NDArray[np.float32]
    right: frozenset[str]


class Pool:
    """One corpus, searched by each method."""

    def __init__(self, corpus: Corpus, vectors: NDArray[np.float32]) -> None:
        self.corpus, self._vectors = corpus, vectors
        texts = [one.whole for one in corpus.passages]
        self._words, self._grams = Bm25(texts, "words"), Bm25(texts, "grams")

    @classmethod
    async def make(cls, name: str, passages: Sequence[Passage], embedder: Embedder) -> Pool:
        stored = await build(passages, embedder)
        return cls(stored.corpus(name), stored.vectors)

    def ranked(self, method: str, asked: Asked) -> list[str]:
        """Ids of the best four."""
        if method == "ours":
            return [hit.passage.id for hit in self.corpus.search(asked.question, asked.vector, 4)]
        cosines = self._vectors @ asked.vector
        words, grams = self._words.shares(asked.question), self._grams.shares(asked.question)
        scores = {"vectors": cosines, "words": words, "rank fusion": sum(map(_ranks, (cosines, words, grams)))}[method]
        return [self.corpus.passages[at].id for at in np.argsort(-np.asarray(scores), kind="stable")[:4]]


def _ranks(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reciprocal ranks (Cormack, Clarke & Buettcher 2009)."""
    order = np.argsort(-scores, kind="stable")[:_DEPTH]
    found = np.zeros(len(scores), dtype=np.float32)
    found[order] = 1 / (_FUSION + np.arange(1, len(order) + 1))
    return np.where(scores > 0, found, 0).astype(np.float32)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when something was measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieval", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer questions, within a minute")
    parser.add_argument("--json", action="store_true", help="one object with the claims")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=FILE", help="another file for a set")
    parser.add_argument("--workspace", type=Path, help="its corpora and golden set (default: the example's)")
    given = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    claims: list[dict[str, Any]] = []
    notes: list[str] = []
    asyncio.run(_all(given, rows, claims, notes))
    if given.json:
        print(json.dumps({"claims": claims, "rows": rows, "notes": notes, "quick": given.quick}))
    else:
        for row in [*rows, *claims]:
            print("  ".join(f"{name}={value}" for name, value in row.items()))
        print("\n".join(notes), file=sys.stderr)
    return 0


async def _all(
    given: argparse.Namespace, rows: list[dict[str, Any]], claims: list[dict[str, Any]], notes: list[str]
) -> None:
    embedder = create_embedder("nano", SystemClock())
    try:
        await _xquad(embedder, dict(one.split("=", 1) for one in given.data), 25 if given.quick else 100, rows, claims)
    except AbsentError as error:
        notes.append(str(error))
    with tempfile.TemporaryDirectory() as folder:
        workspace = given.workspace
        if workspace is None:
            workspace = Path(folder) / "workspace"
            write_example(workspace)
        await _golden(embedder, workspace, rows, claims)


async def _xquad(
    embedder: Embedder, files: dict[str, str], most: int, rows: list[dict[str, Any]], claims: list[dict[str, Any]]
) -> None:
    """60 paragraphs in four languages together; right is the paragraph, in whichever language."""
    of = {row["passage_id"]: row["passage_id"].split("-", 1)[-1] for row in read("xquadr_passages", files)}
    kept = set(sorted(set(of.values()))[:60])
    passages = [
        Passage(
            id=row["passage_id"], source=row["passage_id"], title="", text=row["context"][:900], language=row["lang"]
        )
        for row in read("xquadr_passages", files)
        if row["lang"] in LANGUAGES and of[row["passage_id"]] in kept
    ]
    pool = await Pool.make("xquad", passages, embedder)
    chosen = random.Random(1)
    asked = []
    for language in LANGUAGES:
        every = [r for r in read("xquadr_queries", files) if r["lang"] == language and of[r["passage_id"]] in kept]
        for row in chosen.sample(every, min(most, len(every))):
            right = frozenset(one.id for one in passages if of[one.id] == of[row["passage_id"]])
            asked.append(Asked(row["question"], (await embedder.queries([row["question"]]))[0], right))
    _compare("xquad-r", [(pool, one) for one in asked], rows, claims)


def _compare(
    name: str, asked: Sequence[tuple[Pool, Asked]], rows: list[dict[str, Any]], claims: list[dict[str, Any]]
) -> None:
    first: Counter[str] = Counter()
    for method in METHODS:
        among = 0
        for pool, one in asked:
            found = pool.ranked(method, one)
            first[method] += found[:1] != [] and found[0] in one.right
            among += not one.right.isdisjoint(found)
        rows.append({"set": name, "method": method, "n": len(asked), "first": first[method], "in_four": among})
    baseline = max(first[method] for method in METHODS[1:])
    claims.append({"claim": f"{name}: right passage first", "value": first["ours"], "baseline": baseline,
                   "target": f"> {baseline}", "met": first["ours"] > baseline})  # fmt: skip


async def _golden(
    embedder: Embedder, workspace: Path, rows: list[dict[str, Any]], claims: list[dict[str, Any]]
) -> None:
    """A workspace's golden set: the right passage first; quotes by scope; sentences of the first passage that pass the
    check though they are no answer."""
    tenants = load(workspace).snapshot.tenancy.tenants
    pools: dict[str, Pool] = {}
    asked: list[tuple[Pool, Asked]] = []
    quotes: list[tuple[float, bool, bool]] = []
    wrong = right = 0
    for question in read_golden(workspace).questions:
        name = tenants[question.tenant].channels[question.channel].corpus
        if name is None:
            continue
        if name not in pools:
            pools[name] = await Pool.make(name, read_corpus(workspace / "corpora" / name), embedder)
        pool, vector = pools[name], (await embedder.queries([question.question]))[0]
        one = Asked(
            question.question, vector, frozenset(p.id for p in pool.corpus.passages if _holds(question, p.whole))
        )
        if question.expect == "answer":
            asked.append((pool, one))
        hits = pool.corpus.search(question.question, vector, 4)
        hits.sort(key=lambda hit: hit.passage.language not in (None, question.language))
        shown = [hit.passage for hit in hits]
        evidence = [Evidence(p.text, p.source, p.language, p.title) for p in shown]
        quote = best_quote(question.question, evidence[:1])
        scope = in_scope(question.question, evidence, [hit.cosine for hit in hits])
        quotes.append((scope, question.expect == "answer", quote is not None and _holds(question, quote.text)))
        checker = Checker(question.question, evidence)
        for sentence in _in_language(evidence[:1], question.language):
            if checker.check(sentence, language=question.language).supported:
                right += _holds(question, sentence)
                wrong += not _holds(question, sentence)
    _compare("golden", asked, rows, claims)
    for least in SCOPES:
        served = [one for one in quotes if one[0] >= least]
        rows.append({"set": "golden quotes", "scope": least, "quoted": len(served),
                     "hold_the_answer": sum(held for _, _, held in served),
                     "of_no_answer": sum(not has for _, has, _ in served)})  # fmt: skip
    rows.append({"set": "golden sentences of the first passage", "right_pass": right, "wrong_pass": wrong})
    claims.append({"claim": "sentences that are no answer and pass", "value": wrong, "target": 0, "met": wrong == 0})


def _in_language(evidence: Sequence[Evidence], language: str | None) -> Iterator[str]:
    for one in evidence:
        if one.language in (None, language):
            yield from sentences(one.text)


def _holds(question: Question, text: str) -> bool:
    folded = fold(text)
    return any(fold(one) in folded for one in question.true) and not any(fold(one) in folded for one in question.false)


if __name__ == "__main__":
    sys.exit(main())
