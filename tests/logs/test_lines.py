"""Log lines: one line each whatever is in them, whose request they belong to, and never what an exception says."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from datetime import datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.records import CLOCK, row
from trimtab.core.errors import TrimtabError
from trimtab.core.record import answering
from trimtab.core.rows import CostRow, Tokens
from trimtab.surfaces.logs import AccessLog, JsonLines, LogSettings, Output, TextLines

HOSTILE = "a\r\nERROR b\x1b[2K\x9b31m\u2028c\u202ed\x00e"
_names = iter(range(1_000_000))


class Kept(logging.Handler):
    """Lines as both formatters write them."""

    def __init__(self) -> None:
        super().__init__()
        self.json: list[str] = []
        self.text: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.json.append(JsonLines("gateway").format(record))
        self.text.append(TextLines("gateway").format(record))


@pytest.fixture
def kept() -> Iterator[tuple[logging.Logger, Kept]]:
    log, handler = logging.getLogger(f"trimtab.of_a_test_{next(_names)}"), Kept()
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    yield log, handler
    log.removeHandler(handler)


@given(text=st.text(), value=st.text())
def test_any_text_is_one_line(text: str, value: str) -> None:
    """Also a lone surrogate, which no UTF-8 has."""
    record = logging.LogRecord("trimtab.x", logging.INFO, "x.py", 1, "%s", (text,), None)
    record.fields = {"channel": value}
    record.record = value
    for line in (JsonLines("gateway").format(record), TextLines("gateway").format(record)):
        line.encode()
        assert len(line.splitlines()) == 1
        assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in line)


def test_what_steers_a_terminal_is_written_out(kept: tuple[logging.Logger, Kept]) -> None:
    """In message, arguments, record and fields; JSON has them as they were, written out."""
    log, lines = kept
    log.warning("said %s", HOSTILE, extra={"record": HOSTILE, "fields": {"channel": HOSTILE}})
    assert "\\u000d\\u000aERROR b\\u001b[2K\\u009b31m\\u2028c\\u202ed\\u0000e" in lines.text[0]
    told = msgspec.json.decode(lines.json[0])
    assert told["channel"] == told["record"] == told["message"].removeprefix("said ")
    assert "\x1b" not in told["message"]


def test_an_exception_is_told_by_type_and_place(kept: tuple[logging.Logger, Kept]) -> None:
    """Not by its words, nor its cause's; as an argument only if the words are ours or the system's."""
    log, lines = kept
    try:
        try:
            {}["the secret prompt"]
        except KeyError as error:
            raise ValueError("the secret prompt") from error
    except ValueError as error:
        log.exception("it failed: %s", error)
    told = msgspec.json.decode(lines.json[0])
    assert told["exception"]["type"] == "ValueError"
    assert "from KeyError" in told["exception"]["trace"]
    assert any("test_lines.py" in place for place in told["exception"]["trace"])
    log.error("%s; %s; %s", KeyError("the secret prompt"), TrimtabError("write it so"), OSError(28, "No space left"))
    assert lines.text[1].endswith("ERROR KeyError; write it so; [Errno 28] No space left")
    assert "secret" not in "".join(lines.json + lines.text)


def test_a_line_names_the_request_that_it_belongs_to(kept: tuple[logging.Logger, Kept]) -> None:
    """Told by who logs, or known from the task that answers it."""
    log, lines = kept
    token = answering.set("rec_OF_THE_TASK")
    try:
        log.warning("slow")
        log.warning("slow", extra={"record": "rec_TOLD"})
    finally:
        answering.reset(token)
    log.warning("idle")
    assert [msgspec.json.decode(line).get("record") for line in lines.json] == ["rec_OF_THE_TASK", "rec_TOLD", None]
    assert lines.text[0].endswith("WARNING slow rec_OF_THE_TASK")


def test_time_is_rfc_3339_in_utc(kept: tuple[logging.Logger, Kept]) -> None:
    """Milliseconds, and Z."""
    log, lines = kept
    log.info("now")
    told = msgspec.json.decode(lines.json[0])
    assert told["time"].endswith("Z")
    assert datetime.fromisoformat(told["time"]).timestamp() == pytest.approx(CLOCK.wall_ns() / 1e9, abs=60)
    assert (told["level"], told["role"], told["message"]) == ("info", "gateway", "now")


def test_foreign_loggers_say_their_first_line_and_the_loop_says_nothing(kept: tuple[logging.Logger, Kept]) -> None:
    """The rest is the repr of whatever was at hand."""
    _, lines = kept
    for name, message in (("urllib3", "first\nsecond: the secret"), ("asyncio", "Task x<the secret>\nfuture: secret")):
        lines.emit(logging.LogRecord(name, logging.ERROR, "x.py", 1, message, None, None))
    assert [msgspec.json.decode(line)["message"] for line in lines.json] == [
        "first",
        "the event loop has a complaint",
    ]


@pytest.mark.parametrize(
    ("every", "status", "code", "level"),
    [
        (False, 200, None, None),
        (False, 429, "queue_full", None),
        (False, 502, "upstream_failed", "ERROR"),
        (False, 200, "upstream_failed", "ERROR"),
        (True, 200, None, "INFO"),
        (True, 429, "queue_full", "INFO"),
    ],
)
def test_the_access_line_is_the_record_in_short(
    every: bool, status: int, code: str | None, level: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Faults always; all if asked for; names, figures and the id."""
    record = row(tenant="shop", channel="web", path="rag", status=status, code=code, e2e_ms=12.3456)
    record.tokens, record.cost = Tokens(prompt=9, completion=4), CostRow(settled_nanousd=1_500)
    with caplog.at_level(logging.INFO, "trimtab.access"):
        AccessLog(every=every).write(record)
    assert [one.levelname for one in caplog.records] == ([level] if level else [])
    if level:
        told = msgspec.json.decode(JsonLines("gateway").format(caplog.records[0]))
        wanted = {"record": record.id, "tenant": "shop", "channel": "web", "path": "rag", "status": status}
        wanted |= {"code": code, "latency_ms": 12.35, "prompt_tokens": 9, "completion_tokens": 4}
        assert told.items() >= {**wanted, "cost_usd": "0.0000015"}.items()


def test_a_reader_that_does_not_read_stops_nobody() -> None:
    """A full pipe: lines wait, then are counted as lost; what waited comes once it reads again."""
    reading, writing = os.pipe()
    output = Output(writing, aside=True, most=100)
    output.setFormatter(TextLines("gateway"))
    record = logging.LogRecord("trimtab.x", logging.INFO, "x.py", 1, "x" * 1000, None, None)
    for _ in range(1000):
        output.emit(record)
    assert output.lost > 0
    closing = threading.Thread(target=output.close)
    closing.start()
    with os.fdopen(reading, "rb") as lines:
        got = 0
        while got + output.lost < 1000:
            assert lines.readline()
            got += 1
    closing.join()
    os.close(writing)


def test_a_reader_that_is_gone_stops_nobody() -> None:
    """The lines are counted as lost."""
    reading, writing = os.pipe()
    os.close(reading)
    output = Output(writing)
    output.setFormatter(TextLines("gateway"))
    output.emit(logging.LogRecord("trimtab.x", logging.INFO, "x.py", 1, "x", None, None))
    assert output.lost == 1
    os.close(writing)


def test_settings_reach_a_child_by_its_environment() -> None:
    """What nobody understands is the default: a child must come up."""
    settings = LogSettings(format="json", level="debug", access="all")
    assert LogSettings.told(settings.environment()) == settings
    assert LogSettings.told({}) == LogSettings()
    assert LogSettings.told({"TRIMTAB_LOG_FORMAT": "xml"}) == LogSettings()
