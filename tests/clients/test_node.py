"""OpenAI's Node client: what it sees through Trimtab is what it sees without it.

Skipped where Node or its packages are absent, unless CI is set: `npm install --prefix tests/clients/node --no-audit
--no-fund --no-package-lock`. All cases run in one Node a side.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clients import scripts
from clients.stage import ABSENT, Case, Side, Stage, asked, differing, plain
from support.upstream import Script, Seen, Step

FOLDER = Path(__file__).parent / "node"
NODE = shutil.which("node")
THERE = NODE is not None and (FOLDER / "node_modules" / "openai").is_dir()

pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(not THERE and "CI" not in os.environ, reason="no node, or no tests/clients/node/node_modules"),
]

SCRIPTS: dict[str, Script] = {
    "INVALID": scripts.fails(400, "Temperature is too high", **scripts.INVALID),
    "FAULT": scripts.fails(500),
    "LIMITED": scripts.fails(429, headers=(("retry-after", "0"),)),
    "TWO_FAULTS": scripts.fails_then(2, 500, scripts.HELLO),
    "ONE_FAULT": scripts.fails_then(1, 500, scripts.HELLO),
}


def named(seen: Seen) -> str:
    """The case that asks this."""
    content: str = seen.json["messages"][-1]["content"]
    return content.partition(" ")[0]


class Programme:
    """Plays to each case the script that its message names; `nth` counts the case's own requests."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __call__(self, seen: Seen) -> Iterable[Step]:
        if seen.nth == 0:
            self.counts.clear()
        case, _, script = seen.json["messages"][-1]["content"].partition(" ")
        nth = self.counts[case]
        self.counts[case] += 1
        played = SCRIPTS.get(script) or getattr(scripts, script)
        return played(replace(seen, nth=nth))


def node(*cases: str) -> Case:
    """Run the cases in Node; answers and chunks without what may differ."""

    def play(side: Side) -> Any:
        assert NODE is not None, "CI must have node"
        assert THERE, "CI must have tests/clients/node/node_modules"
        command = [NODE, str(FOLDER / "run.mjs"), side.url, side.key, *cases]
        done = subprocess.run(command, capture_output=True, timeout=50, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return _plain(msgspec.json.decode(done.stdout))

    return play


def _plain(value: Any) -> Any:
    """Answers and chunks as `stage.plain` leaves them. Node tells a null from what is not there, so one more thing is
    hidden: `usage: null`, which OpenAI puts into every chunk before the last if usage was asked for."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _plain(one) for name, one in value.items()}
    if str(kept.get("object")).startswith("chat.completion"):
        kept = plain(kept)
        if kept.get("usage", ABSENT) is None:
            del kept["usage"]
    return kept


# --- what is expected, by case --------------------------------------------------------------------------------------

CASES = 34
COUNTS = {
    "fault": (1, 1, 4),
    "limited": (1, 1, 4),
    "not-retried": (1, 1, 2),
    "retried": (3, 1, 3),
    "too-late-streamed": (2, 2, 2),
    "wrong-key": (1, 1, 0),
    "unknown-model": (1, 1, 0),
}
"""Requests: of the client without us, of the client to us, at the upstream through us; where not each is 1."""
HUNG_UP = 4
"""`too-late` once, `too-late-streamed` twice, `abort` once."""


def error(
    cls: str, status: int | None, message: str, code: Any = ABSENT, param: Any = ABSENT, type: Any = ABSENT
) -> Any:
    """What `told` says in run.mjs: only fields that are there."""
    fields = {"class": cls, "status": status or ABSENT, "message": message, "code": code, "param": param, "type": type}
    return {name: value for name, value in fields.items() if value is not ABSENT} | {"request_id": True}


_REQUEST, _SERVER = "invalid_request_error", "server_error"
_WRONG = error("BadRequestError", 400, "Temperature is too high", "invalid_value", "temperature", _REQUEST)
_LATE = {**error("APIConnectionTimeoutError", None, "Request timed out."), "request_id": False}
_FAULT = error("InternalServerError", 500, "no", 500, type="error")


def _failed(message: str, cls: str = "InternalServerError", status: int | None = 502) -> Any:
    return error(cls, status, message, "upstream_failed", None, _SERVER)


_NO_KEY, _NO_MODEL = "The API key is unknown or revoked.", "there is no model 'gpt-5o'. Did you mean gpt-4o?"
ERRORS = {
    # the caller's own fault, in the upstream's words
    "wrong": (_WRONG, _WRONG),
    "wrong-streamed": (_WRONG, _WRONG),
    # the client's own
    "too-late": (_LATE, _LATE),
    "too-late-streamed": (_LATE, _LATE),
    # the upstream's fault, after each tier was tried twice
    "fault": (_FAULT, _failed("the model's server answered 500")),
    "limited": (error("RateLimitError", 429, "no", 429, type="error"), _failed("the model's server answered 429")),
    # our own refusals, in our words under OpenAI's codes
    "wrong-key": (
        error("AuthenticationError", 401, "Incorrect API key provided", "invalid_api_key", None, _REQUEST),
        error("AuthenticationError", 401, _NO_KEY, "invalid_api_key", None, "authentication_error"),
    ),
    "unknown-model": (
        error("NotFoundError", 404, "The model does not exist", "model_not_found", None, _REQUEST),
        error("NotFoundError", 404, _NO_MODEL, "model_not_found", "model", "not_found_error"),
    ),
    # streams that break: an error event says so, where the client alone sees a bare fetch error, or nothing at all
    "error-event": (
        error("APIError", None, "Boom", "boom", None, _SERVER),
        _failed("the model's server reported an error: Boom", "APIError", None),
    ),
    "cut": (
        {**error("TypeError", None, "terminated"), "request_id": False},
        _failed("the connection to the model's server broke", "APIError", None),
    ),
    "no-finish": (None, _failed("the model's server ended its answer in the middle", "APIError", None)),
    # one fault: asking once more hides it
    "not-retried": (_FAULT, None),
}


def taken_error(told: dict[str, Any]) -> Any:
    """The error of a case, taken out of what it told: all of it, or how its stream ended."""
    if "answer" not in told:
        error = dict(told)
        told.clear()
        return error
    return told["answer"].pop("error", None)


def test_all_cases(new_stage: Stage) -> None:
    """What Node's client sees, whole, streamed, failing, is equal but for the errors of the table, and so are requests;
    who asks how often is exactly as counted."""
    new_stage.plays(Programme())
    more = {case: [count - 1 for count in counts] for case, counts in COUNTS.items()}
    direct_n, through_n, upstream_n = (CASES + sum(extra[at] for extra in more.values()) for at in range(3))
    pair = new_stage.both(node(), (direct_n, through_n), upstream_n, (HUNG_UP, HUNG_UP))
    direct, through = pair.direct.said, pair.through.said
    assert len(direct) == len(through) == CASES

    for at, played in ((0, pair.direct), (2, pair.through)):
        counts = Counter(named(seen) for seen in played.asked)
        assert counts == +Counter({case: COUNTS.get(case, (1, 1, 1))[at] for case in direct})
    first = [{named(seen): seen.json for seen in reversed(played.asked)} for played in (pair.direct, pair.through)]
    for case, body in first[1].items():
        assert asked(first[0][case], through=False) == asked(body, through=True), case

    for case, errors in ERRORS.items():
        assert (taken_error(direct[case]), taken_error(through[case])) == errors, case
    assert through.pop("not-retried") == through["whole"]
    assert direct.pop("not-retried") == {}
    assert differing(direct, through) == {}

    # that the cases saw what they were to see
    assert through["whole"]["answer"]["choices"][0]["message"]["content"] == 'Grüß Gott,\n"world" \u2028🦊!'
    assert through["abort"] == ["", "one"]
    assert through["helper"]["events"][2:5] == [
        [0, "weather", 'ty": "Zü'],
        [0, "weather", 'rich", "days": 3}'],
        [0, "weather", '{"city": "Zürich", "days": 3}'],
    ]
    assert through["usage-streamed"]["answer"]["chunks"][-1]["usage"] == scripts.USAGE
    assert through["head"] == {"named": True, "status": 200, "type": "application/json"}


def test_models(stage: Stage) -> None:
    """The list holds what this key may send; a name that is not in it is not found."""
    said = stage.play(node("models"), stage.through, attempts=0, upstream=0, hung_up=0).said["models"]
    names = [[name, "model"] for name in ("auto", "gpt-4o", "hash-256")]
    assert (said["names"], said["one"]) == (names, "gpt-4o")
    assert (said["none"]["class"], said["none"]["code"]) == ("NotFoundError", "model_not_found")
