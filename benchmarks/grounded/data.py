"""The sets, as (question, answer, evidence, label) rows. Parquet is read by pyarrow, which only benchmarks need."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from benchmarks.sets import read as rows_of
from trimtab.dataplane.guard.grounded import Evidence

SETS = {
    "begin": "e_ground/begin.parquet",
    "summedits": "e_ground/summedits.parquet",
    "wice": "e_ground/wice_claims.parquet",
    "xquadr_queries": "d_rag/xquadr_queries.parquet",
    "xquadr_passages": "d_rag/xquadr_passages.parquet",
}
LANGUAGES = ("en", "de", "es", "ar", "zh")


class Row(NamedTuple):
    """`supported`: what people said; None where a row is unlabelled."""

    question: str
    answer: str
    evidence: list[Evidence]
    supported: bool
    language: str


class Asked(NamedTuple):
    question: str
    key: str
    evidence: list[Evidence]
    language: str


def read(name: str, given: dict[str, str]) -> list[dict[str, Any]]:
    """A set's rows. Raises AbsentError."""
    return rows_of(name, SETS, given)


def labelled(name: str, given: dict[str, str], most: int) -> list[Row]:
    """At most `most` rows of a labelled set, drawn by a fixed seed."""
    rows = [row for row in map(_OF[name], read(name, given)) if row is not None]
    random.Random(7).shuffle(rows)
    return rows[:most]


def asked(given: dict[str, str], most: int) -> list[Asked]:
    """Questions with their gold passage second of three of the same language."""
    passages = {row["passage_id"]: row["context"] for row in read("xquadr_passages", given)}
    queries = read("xquadr_queries", given)
    rng = random.Random(7)
    rng.shuffle(queries)
    found: list[Asked] = []
    for language in LANGUAGES:
        ids = sorted(one for one in passages if one.startswith(language + "-"))
        for row in [one for one in queries if one["lang"] == language][:most]:
            one, other = rng.sample(ids, 2)
            shown = [Evidence(passages[name], name, language) for name in (one, row["passage_id"], other)]
            found.append(Asked(row["question"], row["answer"], shown, language))
    return found


def _begin(row: dict[str, Any]) -> Row | None:
    if row["begin_label"] not in ("Fully attributable", "Not fully attributable"):
        return None
    evidence = [Evidence(row["knowledge"], "knowledge", "en")]
    return Row("", row["response"], evidence, row["begin_label"] == "Fully attributable", "en")


def _summedits(row: dict[str, Any]) -> Row | None:
    return Row("", row["summary"], [Evidence(row["doc"], "doc", "en")], str(row["label"]) == "1", "en")


def _wice(row: dict[str, Any]) -> Row | None:
    lines = row["evidence"] if isinstance(row["evidence"], list) else [row["evidence"]]
    return Row("", row["claim"], [Evidence("\n".join(lines), "page", "en")], row["label"] == "supported", "en")


_OF = {"begin": _begin, "summedits": _summedits, "wice": _wice}
