"""python -m benchmarks.grounded: see README.md beside this file."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from benchmarks.grounded.data import Row, asked, labelled, read
from benchmarks.grounded.edits import edits
from benchmarks.sets import AbsentError
from trimtab.dataplane.guard.grounded import Evidence, best_quote, check
from trimtab.dataplane.guard.grounded.sentences import sentences
from trimtab.foundations.stats import lower, upper

CANNOT_RUN = 2
_word = re.compile(r"\w+")
Verdict = Callable[[Row], bool]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when something was measured, 2 when no set is here."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grounded", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a part of each set, within a minute")
    parser.add_argument("--json", action="store_true", help="one object with the claims")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=FILE", help="another file for a set")
    given = parser.parse_args(arguments)
    files = dict(one.split("=", 1) for one in given.data)
    most = 150 if given.quick else 1200
    rows: list[dict[str, Any]] = []
    claims: list[dict[str, Any]] = []
    notes: list[str] = []
    for part in (_edits, _sets, _quotes):
        try:
            part(files, most, rows, claims)
        except AbsentError as error:
            notes.append(str(error))
    if not rows:
        print("\n".join(notes), file=sys.stderr)
        return CANNOT_RUN
    if given.json:
        print(json.dumps({"claims": claims, "rows": rows, "notes": notes, "quick": given.quick}))
    else:
        for row in rows:
            print("  ".join(f"{name}={value}" for name, value in row.items()))
        for claim in claims:
            print(claim)
        print("\n".join(notes))
    return 0


def _edits(files: dict[str, str], most: int, rows: list[dict[str, Any]], claims: list[dict[str, Any]]) -> None:
    """Rule-made wrong answers from English sentences, and the sentences themselves."""
    right: list[Row] = []
    wrong: list[Row] = []
    kinds: list[str] = []
    for passage in [row for row in read("xquadr_passages", files) if row["lang"] == "en"][: most // 3]:
        text = passage["context"]
        for sentence in sentences(text)[:2]:
            shown = [Evidence(text, "p", "en")]
            right.append(Row(sentence, sentence, shown, True, "en"))
            for kind, edited in edits(sentence):
                wrong.append(Row(sentence, edited, shown, False, "en"))
                kinds.append(kind)
    for name, verdict in _verdicts(right + wrong).items():
        passed = [verdict(row) for row in wrong]
        kept = sum(verdict(row) for row in right)
        rows.append(
            {"set": "edits", "method": name, "wrong": len(wrong), "wrong_passed": sum(passed),
             "upper95": round(upper(sum(passed), len(wrong)), 4), "right": len(right), "right_passed": kept,
             "by_kind": dict(Counter(kind for kind, one in zip(kinds, passed, strict=True) if one))}
        )  # fmt: skip
    ours, words = rows[-3]["upper95"], rows[-2]["wrong_passed"] / len(wrong)
    claims.append(_claim("edits that pass, upper 95 % bound", ours, words, 0.01, ours <= 0.01))


def _sets(files: dict[str, str], most: int, rows: list[dict[str, Any]], claims: list[dict[str, Any]]) -> None:
    for name in ("begin", "summedits", "wice"):
        found = labelled(name, files, most)
        first = len(rows)
        for method, verdict in _verdicts(found).items():
            began = time.perf_counter()
            said = [verdict(row) for row in found]
            spent = (time.perf_counter() - began) * 1000 / len(found)
            rows.append({"set": name, "method": method, **_table(found, said), "ms_each": round(spent, 3)})
        ours, words = rows[first]["wrong_rate"], rows[first + 1]["wrong_rate"]
        claims.append(_claim(f"{name}: unsupported answers that pass", ours, words, words, ours < words))


def _quotes(files: dict[str, str], most: int, rows: list[dict[str, Any]], claims: list[dict[str, Any]]) -> None:
    """How many quotes hold the answer; the baseline is the first three sentences with the most words shared."""
    found = asked(files, max(40, most // 6))
    held: Counter[str] = Counter()
    plain: Counter[str] = Counter()
    total = Counter(row.language for row in found)
    times = []
    for row in found:
        began = time.perf_counter()
        quote = best_quote(row.question, row.evidence)
        times.append((time.perf_counter() - began) * 1000)
        held[row.language] += quote is not None and row.key in quote.text
        plain[row.language] += row.key in _most_shared(row.question, row.evidence)
    for language, count in total.items():
        rows.append(
            {"set": "quotes", "language": language, "n": count, "held": round(held[language] / count, 3),
             "lower95": round(lower(held[language], count), 3), "baseline": round(plain[language] / count, 3)}
        )  # fmt: skip
    rows.append({"set": "quotes", "median_ms": round(median(times), 2)})
    ours, words = sum(held.values()) / sum(total.values()), sum(plain.values()) / sum(total.values())
    claims.append(_claim("quotes that hold the answer", round(ours, 3), round(words, 3), 0.9, ours >= 0.9))


def _verdicts(rows: list[Row]) -> dict[str, Verdict]:
    """Ours, and the baselines; word overlap at the threshold with the best balanced accuracy on these very rows."""
    shares = sorted({round(_overlap(row), 2) for row in rows})
    best = max(shares, key=lambda cut: _balanced(rows, [_overlap(row) >= cut for row in rows]))
    return {
        "ours": lambda row: check(row.question, row.answer, row.evidence, language=row.language).supported,
        f"overlap>={best}": lambda row: _overlap(row) >= best,
        "numbers": _numbers,
    }


def _table(rows: list[Row], said: list[bool]) -> dict[str, Any]:
    wrong = [one for row, one in zip(rows, said, strict=True) if not row.supported]
    right = [one for row, one in zip(rows, said, strict=True) if row.supported]
    return {
        "n": len(rows),
        "wrong_rate": round(sum(wrong) / max(len(wrong), 1), 4),
        "wrong_upper95": round(upper(sum(wrong), len(wrong)), 4),
        "right_rate": round(sum(right) / max(len(right), 1), 4),
        "balanced": round(_balanced(rows, said), 3),
    }


def _balanced(rows: list[Row], said: list[bool]) -> float:
    right = [one for row, one in zip(rows, said, strict=True) if row.supported]
    wrong = [not one for row, one in zip(rows, said, strict=True) if not row.supported]
    return (sum(right) / max(len(right), 1) + sum(wrong) / max(len(wrong), 1)) / 2


def _overlap(row: Row) -> float:
    there = {word for one in row.evidence for word in _word.findall(one.text.casefold())}
    said = _word.findall(row.answer.casefold())
    return sum(word in there for word in said) / max(len(said), 1)


def _numbers(row: Row) -> bool:
    there = {number for one in row.evidence for number in re.findall(r"\d+", one.text)}
    return all(number in there for number in re.findall(r"\d+", row.answer))


def _most_shared(question: str, evidence: list[Evidence]) -> str:
    words = _terms(question)
    runs = []
    for one in evidence:
        found = sentences(one.text)
        runs += [" ".join(found[at : at + 3]) for at in range(max(1, len(found) - 2))]
    return max(runs, key=lambda run: len(words & _terms(run)))


def _terms(text: str) -> set[str]:
    """Words; of words without a Latin or Arabic letter (scripts that set no spaces) the character pairs."""
    found = _word.findall(text.casefold())
    pairs = {word[at : at + 2] for word in found if word[0] > "\u3000" for at in range(len(word) - 1)}
    return {word for word in found if word[0] <= "\u3000"} | pairs


def _claim(claim: str, ours: float, baseline: float, target: float, met: bool) -> dict[str, Any]:
    ratio = round(ours / baseline, 3) if baseline else None
    return {"claim": claim, "ours": ours, "baseline": round(baseline, 4), "ratio": ratio, "target": target, "met": met}


if __name__ == "__main__":
    raise SystemExit(main())
