"""`trimtab chat` and `trimtab try` as a stranger uses them: the example, its real models, the command line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec
import pytest

from support.live import TRIMTAB, Live, trimtab
from trimtab.surfaces.doctor.measured import Measured
from trimtab.surfaces.learned import FOLDER, MEASURED

pytestmark = [pytest.mark.engine, pytest.mark.timeout(120)]
REFUND = "Can sale items be refunded?"


def tried(workspace: Path, stage: str, *lines: dict[str, object]) -> list[dict[str, object]]:
    """What `try STAGE` makes of the lines."""
    done = subprocess.run(
        [TRIMTAB, "try", stage, "--workspace", str(workspace)],
        input=b"".join(msgspec.json.encode(line) + b"\n" for line in lines),
        capture_output=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    return [msgspec.json.decode(line) for line in done.stdout.splitlines()]


def test_one_question_and_what_its_answer_took(server: Live) -> None:
    """The answer first; path, tier and variant, contract kept or missed, cost, rules and sources under it."""
    said = trimtab("chat", REFUND, "--channel", "commerce", "--workspace", str(server.workspace))
    answer, *under = said.splitlines()
    assert "cannot be refunded" in answer
    text = "\n".join(under)
    for word in ("rag > M > medium-greedy", "USD", "of 2,000", "returns.en.md#sale-items"):
        assert word in text, said


def test_a_conversation_in_a_terminal(server: Live) -> None:
    """/why explains the last answer, /channel changes it, /quit ends; what is no command is said to be none."""
    lines = f"{REFUND}\n/why\n/channel hr/assistant\nBy what time must sick leave be reported?\n/nonsense\n/quit\n"
    done = subprocess.run(
        [TRIMTAB, "chat", "--channel", "commerce/checkout-bot", "--workspace", str(server.workspace)],
        input=lines,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be refunded" in done.stdout
    assert "Tokens and money" in done.stdout  # /why
    assert "9:00" in done.stdout
    assert "/nonsense" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_channel_that_is_not_there_is_named_with_those_that_are(server: Live) -> None:
    """Usage errors exit with 2."""
    done = subprocess.run(
        [TRIMTAB, "chat", "x", "--channel", "commerce/nosuch", "--workspace", str(server.workspace)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "commerce/checkout-bot" in done.stderr


def test_each_stage_alone(server: Live) -> None:
    """JSON lines in, what the record would hold out, in order and by id; no key, no gateway, no model."""
    place: dict[str, object] = {"tenant": "commerce", "channel": "checkout-bot"}
    ask = {"id": "q", **place, "text": f"{REFUND} Write to ann@example.com"}
    folder = server.workspace
    guarded = tried(folder, "guard_in", ask, {**ask, "id": 2, "text": "Hello"})
    assert [row["id"] for row in guarded] == ["q", 2]
    assert "<EMAIL_1>" in str(guarded[0]["guard_in"])
    assert "ann@example.com" not in str(guarded[0])
    assert tried(folder, "bind", ask)[0]["bind"]["latency"]["e2e_ms"] == 2000  # type: ignore[index]
    assert tried(folder, "classify", ask)[0]["classify"]["language"]["value"] == "en"  # type: ignore[index]
    assert {rule["id"] for rule in tried(folder, "decide", ask)[0]["decide"]} >= {"hard-or-risky-asks-afresh"}  # type: ignore[attr-defined, index]
    plans = tried(folder, "route", ask)[0]["route"]
    assert {plan["path"] for plan in plans} == {"rag"}  # type: ignore[attr-defined, index]
    assert tried(folder, "retrieve", ask)[0]["retrieve"][0]["source"] == "returns.en.md#sale-items"  # type: ignore[index]


def test_what_would_become_of_an_answer(server: Live) -> None:
    """guard_out takes the answer that a model would have given: a true one is supported, a changed one quoted."""
    line: dict[str, object] = {"tenant": "commerce", "channel": "checkout-bot", "text": REFUND}
    right, wrong = tried(
        server.workspace,
        "guard_out",
        {**line, "id": "right", "answer": "Sale items cannot be refunded."},
        {**line, "id": "wrong", "answer": "Yes, sale items can be refunded."},
    )
    assert right["guard_out"]["supported"] is True  # type: ignore[index]
    assert wrong["guard_out"]["supported"] is False  # type: ignore[index]
    assert "cannot be refunded" in wrong["guard_out"]["quote"]["text"]  # type: ignore[index]


def test_a_line_that_cannot_be_read_is_named(server: Live) -> None:
    """By its number, and with exit code 1; a channel that is not there is that line's error alone."""
    done = subprocess.run(
        [TRIMTAB, "try", "bind", "--workspace", str(server.workspace)],
        input=b'{"text": "a", "tenant": "nosuch"}\n{"tekst": "a"}\n',
        capture_output=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 1
    assert b"channel_required" in done.stdout
    assert b"line 2" in done.stderr


def test_the_doctor_sees_machine_workspace_gateway_and_what_records_lack(server: Live) -> None:
    """All is well on the example; the share of nulls of each field is printed, and in JSON."""
    trimtab("chat", REFUND, "--channel", "commerce", "--workspace", str(server.workspace))
    said = trimtab("doctor", "--workspace", str(server.workspace))
    for word in ("machine:", "corpus shop: ready", f"serves at http://127.0.0.1:{server.port}", "FIELD", "session"):
        assert word in said, said
    told = msgspec.json.decode(trimtab("doctor", "--json", "--workspace", str(server.workspace)).encode())
    assert told["ok"] is True
    share = {one["field"]: one["share"] for one in told["fields"]}
    assert share["tenant"] == share["contract.latency.e2e_ms"] == 0
    assert 0 <= share["tokens.prompt"] < 1


def test_the_doctor_measures_beside_a_gateway(server: Live) -> None:
    """Engines of its own, embedder, plane and disk have figures that hang together; progress goes to stderr; nothing is
    recorded, charged or left behind."""
    before = server.state()["journal"]["seq"], server.admin("GET", "/budgets")
    done = subprocess.run(
        [TRIMTAB, "doctor", "--measure", "--seconds", "1", "--json", "--workspace", str(server.workspace)],
        capture_output=True,
        check=True,
        timeout=100,
    )
    told = msgspec.json.decode(done.stdout)
    measured = msgspec.convert(told["measured"], Measured)
    assert measured.notes == []
    assert measured.gateway_runs
    assert [one.engine for one in measured.engines] == ["small", "medium"]
    for one in measured.engines:
        assert one.prompt_tokens_per_s > 0
        assert one.tokens_per_s > 0
        cold, warm = one.prefills[0], one.prefills[1]
        assert warm.tokens == cold.tokens
        assert warm.cached > cold.cached
        assert one.fitted.pod.decode_ms(1, 100) > 0
        assert one.fitted.pod.prompt_pass_ms(100, 50) > 0
        assert one.fitted.passes == sum(not seen.held_out for seen in one.passes) > 10
    assert {plane.channel for plane in measured.planes} == {"commerce/checkout-bot", "hr/assistant", "support/chat"}
    assert all(plane.cpu_ms > 0 for plane in measured.planes)
    assert measured.journal is not None
    assert measured.journal.records_per_s > 0
    assert {(one["channel"], one["term"]) for one in told["verdicts"]} >= {("support/chat", "e2e_ms")}
    assert {one["tier"] for one in told["capacities"]} == {"S", "M"}
    assert done.stderr.count(b"measuring ") == 5
    assert not list((server.workspace / "var").glob(".measure-*"))
    assert measured.kept == []
    assert not (server.workspace / FOLDER / MEASURED).exists()
    assert (server.state()["journal"]["seq"], server.admin("GET", "/budgets")) == before


def test_the_doctor_says_no_of_a_broken_workspace(tmp_path: Path) -> None:
    """Exit code 1."""
    said = trimtab("doctor", "--workspace", str(tmp_path), code=1)
    assert "not ok" in said
    assert "No request has been recorded yet." in said
