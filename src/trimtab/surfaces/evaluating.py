"""A golden set against a running gateway: its questions asked, its edits compared; kept as it goes, to resume."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from trimtab.controlplane.evaluate import ANSWERS, Answer, EditResult, Edits, Kind, Question, Result
from trimtab.core.clock import NS_PER_MS, SystemClock
from trimtab.core.errors import ConfigError
from trimtab.core.money import nanousd
from trimtab.core.tenancy import Tenancy
from trimtab.dataplane.guard.grounded import Evidence, check
from trimtab.dataplane.retrieval import passages_of
from trimtab.surfaces import caller
from trimtab.surfaces.indexes import CORPORA
from trimtab.surfaces.server.ask import ask

_TEMPLATES: Mapping[str, Kind] = {"quote": "quoted", "handover": "handover"}


class Kept(msgspec.Struct, frozen=True):
    """A line of ANSWERS. `of`: digest of the question and of all that decides its answer."""

    of: str
    answer: Answer


class Asking:
    """Questions of one golden set, asked of the gateway at `url`. `keys`: by tenant, in place of its demo key."""

    def __init__(self, workspace: Path, tenancy: Tenancy, url: str, keys: Mapping[str, str]) -> None:
        self._workspace, self._url = workspace, url
        self._tenancy, self._given = tenancy, keys
        state = ask(workspace, "GET", "/state")
        self._setting = msgspec.json.encode([state["snapshots"], state["corpora"]], order="deterministic")

    def known(self, questions: tuple[Question, ...]) -> dict[str, Answer]:
        """Answers that an earlier run got of this very setting, by question id. What is of another one is dropped."""
        path = self._workspace / ANSWERS
        try:
            rows = [msgspec.json.decode(line, type=Kept) for line in path.read_bytes().splitlines() if line.strip()]
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError:
            return {}  # cut off in the middle of a line, or of an older version: asked again
        kept = {row.of: row.answer for row in rows if row.answer.kind != "failed"}
        return {one.id: kept[digest] for one in questions if (digest := self._digest(one)) in kept}

    def forget(self) -> None:
        """Begin anew."""
        (self._workspace / ANSWERS).unlink(missing_ok=True)

    def ask_all(
        self, questions: tuple[Question, ...], at_once: int, done: Callable[[Result], None]
    ) -> Iterator[Result]:
        """Every question's result, those already known first; each is kept before the next. Raises TrimtabError."""
        known = self.known(questions)
        for question in questions:
            caller.key_for(self._tenancy, question.tenant, self._given)  # a missing key is said before the first one
        path = self._workspace / ANSWERS
        path.parent.mkdir(parents=True, exist_ok=True)
        for question in questions:
            if question.id in known:
                yield Result(question, known[question.id])
        rest = [question for question in questions if question.id not in known]
        with path.open("ab") as file, ThreadPoolExecutor(at_once) as pool:
            for question, answer in zip(rest, pool.map(self.ask, rest), strict=True):
                file.write(msgspec.json.encode(Kept(self._digest(question), answer)) + b"\n")
                file.flush()
                result = Result(question, answer)
                done(result)
                yield result

    def ask(self, question: Question) -> Answer:
        """One question, afresh: neither answered from the cache nor kept there."""
        clock = SystemClock()
        headers = {"trimtab-channel": question.channel, "cache-control": "no-store"}
        body = {"model": "auto", "messages": [{"role": "user", "content": question.question}]}
        key = caller.key_for(self._tenancy, question.tenant, self._given)
        began = clock.now_ns()
        reply = caller.chat(self._url, key, body, headers)
        ms = (clock.now_ns() - began) / NS_PER_MS
        if reply.status != 200 or not isinstance(reply.body, dict):
            said = reply.body.get("error", {}).get("message", "") if isinstance(reply.body, dict) else ""
            return Answer(kind="failed", text=str(said), ms=ms, status=reply.status)
        return _answer(reply.body, ms)

    def _digest(self, question: Question) -> str:
        asked = msgspec.json.encode([question.tenant, question.channel, question.question])
        return hashlib.sha256(self._setting + asked).hexdigest()[:32]


def _answer(body: dict[str, Any], ms: float) -> Answer:
    told = body["trimtab"]
    template = told["template"]
    kind: Kind = "answered" if template is None else _TEMPLATES.get(template, "refused")
    cost = told["cost_usd"]
    return Answer(
        kind=kind,
        text=body["choices"][0]["message"]["content"] or "",
        ms=ms,
        cost_nanousd=None if cost is None else nanousd(Decimal(cost)),
        path=told["path"],
        tier=told["tier"],
        record=told["record"],
    )


def compare_edits(workspace: Path, sets: tuple[Edits, ...]) -> Iterator[EditResult]:
    """Each statement and its edits, as if a model had answered with them, against the passages of their document.
    Raises ConfigError where a source is not there."""
    for one in sets:
        evidence = _evidence(workspace, one.source)

        def passes(said: str, one: Edits = one, evidence: list[Evidence] = evidence) -> bool:
            return check(one.question, said, evidence, language=one.language).supported

        yield EditResult(one, passes(one.statement), tuple(passes(edit) for edit in one.edits))


def _evidence(workspace: Path, source: str) -> list[Evidence]:
    file = source.partition("#")[0]
    found = sorted((workspace / CORPORA).glob(f"*/**/{file}"))
    if not found:
        raise ConfigError([f"golden: no document {file!r} in {CORPORA}/"])
    relative = str(found[0].relative_to(workspace / CORPORA).as_posix()).partition("/")[2]
    passages = passages_of(relative, found[0].read_text())
    return [Evidence(text=one.text, source=one.source, language=one.language, title=one.title) for one in passages]


__all__ = ["Asking", "compare_edits"]
