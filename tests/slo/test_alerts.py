"""Who is told of what: grouped, once, with what changed, in the form that a receiver takes, over real HTTP and SMTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from email import message_from_string
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from support.slo import HOUR, MINUTE, NOW, answer, failure, latency, spend, traffic
from support.upstream import ScriptedUpstream, Seen, Step
from support.upstream import answer as reply
from support.workspaces import Sandbox
from trimtab.cli import cli
from trimtab.controlplane.records import Journal
from trimtab.controlplane.slo import Engine, Objective
from trimtab.controlplane.slo.changes import Changes, changes
from trimtab.controlplane.slo.notices import Notice, Told, notices, wants
from trimtab.controlplane.slo.notify import email, pagerduty, slack, webhook
from trimtab.core.clock import SystemClock
from trimtab.core.objectives import Receiver
from trimtab.core.record import Record
from trimtab.core.rows import Attempt, Met, Snapshots
from trimtab.dataplane.inference.adapters.http1 import Http1Dialer
from trimtab.surfaces.alerting import Watch
from trimtab.surfaces.outbox import Outbox

LINK = "https://grafana.example.com/d/trimtab-slo"
TOLD = Changes(
    since_ns=NOW - HOUR, until_ns=NOW, requests=60, traffic=2.0, releases=("rel_a", "rel_b"),
    faults=(("far/0: <timeout>", 7),), codes=(("upstream_failed", 5),),
)  # fmt: skip


def said(
    rows: Iterable[Record], told: dict[str, Told] | None = None, now: int = NOW, also: Iterable[Objective] = ()
) -> tuple[list[Notice], dict[str, Told]]:
    engine = Engine([latency(), latency(id="shop/bot/availability", kind="availability", target=0.99), *also])
    for row in rows:
        engine.observe(row)
    return notices(engine.at(now), told or {}, now, LINK)


def slow(minutes: int = 20) -> list[Record]:
    return list(traffic(1, NOW - minutes * MINUTE, NOW, 600, 1.0))


def firing() -> Notice:
    (notice, *_), _ = said(slow())
    return msgspec.structs.replace(notice, changes=TOLD)


# --- grouping


def test_a_group_is_told_once_when_it_grows_and_when_it_is_over() -> None:
    """One notice for all alerts of a channel and severity; nothing new, nothing said."""
    first, told = said(slow())
    assert {(one.key, one.state) for one in first if one.severity == "page"} == {("shop/bot:page", "firing")}
    assert said(slow(), told) == ([], told)
    both = [*slow(), *(failure(NOW - index * 3 * 10**9) for index in range(20, 300))]
    (grown, *_), more = said(both, told)
    assert (grown.state, grown.since_ns) == ("changed", first[0].since_ns)
    assert {alert.objective for alert in grown.alerts} == {"shop/bot/latency", "shop/bot/availability"}
    assert said(slow(), more)[0] == []  # fewer is no news
    over, none = said([], more)
    assert {one.state for one in over} == {"ended"}
    assert none == {}
    assert said([], none) == ([], {})


def test_a_receiver_is_told_what_it_asked_for() -> None:
    """By severity and channel; a tenant's own budget by any of its channels."""
    notice = firing()

    def asks(**terms: Any) -> bool:
        return wants(Receiver(kind="slack", url="https://h", **terms), notice)

    assert asks()
    assert asks(channels=["shop/*"], severities=["page"])
    assert not asks(channels=["hr/*"])
    assert not asks(severities=["ticket"])
    notice = msgspec.structs.replace(notice, channel=None)
    assert asks(channels=["shop/other"])
    assert not asks(channels=["hr/*"])


def test_what_changed_is_read_from_records() -> None:
    """Releases, traffic against the span before, upstreams that failed, codes; of the channel alone."""
    dropped = [Attempt(replica="far/0", start_ms=0.0, outcome="dropped", reason="timeout")]
    rows = [answer(NOW - 90 * MINUTE, snapshots=Snapshots(release="rel_a")) for _ in range(10)]
    rows += [answer(NOW - 30 * MINUTE, snapshots=Snapshots(release="rel_b"), attempts=dropped) for _ in range(25)]
    rows += [failure(NOW - 20 * MINUTE) for _ in range(5)]
    rows += [answer(NOW - 20 * MINUTE, channel="other")] * 50
    found = changes(rows, "shop", "bot", NOW - HOUR, NOW)
    assert (found.requests, found.traffic, found.releases) == (30, 3.0, ("rel_a", "rel_b"))
    assert list(found.lines()) == [
        "release rel_a -> rel_b",
        "traffic 3.0 times that of the 60 minutes before",
        "25 attempts failed: far/0: timeout",
        "5 requests ended with upstream_failed",
    ]
    assert list(changes([], "shop", None, NOW - HOUR, NOW).lines()) == []


# --- bodies


def test_bodies_have_what_their_readers_want() -> None:
    """Our JSON, Slack's blocks with escapes, PagerDuty's event with a key that resolves it, a mail in its thread."""
    notice = firing()
    ended = Notice(
        key=notice.key, tenant="shop", channel="bot", severity="page", state="ended", at_ns=NOW + HOUR,
        since_ns=notice.since_ns, alerts=(), statuses=(), link=LINK,
    )  # fmt: skip
    ours = msgspec.json.decode(webhook(notice))
    assert (ours["v"], ours["state"], ours["severity"], ours["link"]) == (1, "firing", "page", LINK)
    assert ours["alerts"][0]["certificate"]["method"] == "e-detector"
    assert ours["budgets"]["shop/bot/latency"]["left"] < 0
    told = msgspec.json.decode(slack(notice))
    text = told["blocks"][1]["text"]["text"]
    assert "far/0: &lt;timeout&gt;" in text
    assert "What changed: release rel_a -&gt; rel_b" in text
    assert LINK in told["blocks"][2]["elements"][0]["text"]
    event, resolve = (msgspec.json.decode(pagerduty(one, "R0")) for one in (notice, ended))
    assert (event["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert event["dedup_key"] == resolve["dedup_key"] == "trimtab-slo:shop/bot:page"
    assert event["payload"]["severity"] == "critical"
    assert {"summary", "source", "severity", "timestamp"} <= set(event["payload"])
    first, last = (
        email(notice, "trimtab@example.com", ["a@example.com"]),
        email(ended, "trimtab@example.com", ["a@x.de"]),
    )
    assert last["In-Reply-To"] == first["Message-ID"]
    assert first["Subject"] == "[trimtab] shop/bot: budget of latency burns (page)"
    assert LINK in first.get_content()
    for body in (webhook, slack):
        msgspec.json.decode(body(ended))


def test_money_is_told_in_dollars() -> None:
    """What is spent, allowed and left, which may be below zero."""
    from support.slo import paid

    (notice, *_), _ = said([paid(NOW - HOUR, 3_000_000_000)], also=[spend(2_000_000_000)])
    assert "spent $3 of $2, $-1 left" in slack(notice).decode()


# --- delivery


@asynccontextmanager
async def outbox(*receivers: Receiver, folder: Path = Path()) -> AsyncIterator[Outbox]:
    dialer = Http1Dialer()
    made = Outbox({f"r{n}": one for n, one in enumerate(receivers)}, folder, dialer, SystemClock(), (0.0, 0.0))
    try:
        yield made
    finally:
        await made.close()
        await dialer.close()


def scripted(*statuses: int) -> Callable[[Seen], Iterable[Step]]:
    """Answers with these statuses in turn, the last one for ever."""
    return lambda seen: reply({}, statuses[min(seen.nth, len(statuses) - 1)])


def test_a_notice_is_delivered_though_it_takes_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """503 and 429 are tried again; each receiver gets its own form; a key goes as a bearer token."""
    monkeypatch.setenv("HOOK_KEY", "k1")

    async def run() -> None:
        async with ScriptedUpstream(scripted(503, 429, 200)) as up, ScriptedUpstream(scripted(202)) as other:
            hook = Receiver(kind="webhook", url=f"{up.url}/hook?a=1", key="env:HOOK_KEY", private=True)
            pager = Receiver(kind="pagerduty", url=other.url, key="env:HOOK_KEY", private=True)
            async with outbox(hook, pager) as box:
                box.put(firing())
                await box.drain()
                assert repr(box) == "<Outbox 0 waiting, 2 delivered, 0 given up>"
            assert [seen.path for seen in up.requests] == ["/hook?a=1"] * 3
            assert up.requests[2].headers["authorization"] == "Bearer k1"
            assert up.requests[2].json["headline"] == "shop/bot: budget of latency burns (page)"
            assert other.requests[0].json["routing_key"] == "k1"

    asyncio.run(run())


@pytest.mark.parametrize(("status", "attempts"), [(404, 1), (500, 3)])
def test_what_cant_be_delivered_is_given_up(status: int, attempts: int, caplog: pytest.LogCaptureFixture) -> None:
    """At once where another attempt can't help, else after the last; the log says so, without the address."""

    async def run() -> None:
        async with ScriptedUpstream(scripted(status)) as up:
            async with outbox(Receiver(kind="slack", url=f"{up.url}/T0/secret", private=True)) as box:
                box.put(firing())
                await box.drain()
                assert box.given_up == 1
            assert len(up.requests) == attempts

    asyncio.run(run())
    assert f"r0 was not told of shop/bot: budget of latency burns (page): answered {status}" in caplog.text
    assert "secret" not in caplog.text


def test_addresses_are_checked_before_anything_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    """A receiver on this machine must say `private`; cloud credentials are never an address."""

    async def run() -> None:
        async with ScriptedUpstream(scripted(200)) as up:
            here, cloud = Receiver(kind="slack", url=up.url), Receiver(kind="webhook", url="http://169.254.169.254/")
            async with outbox(
                here, msgspec.structs.replace(cloud, private=True), Receiver(kind="slack", url="x:")
            ) as box:
                box.put(firing())
                await box.drain()
                assert box.given_up == 3
            assert up.requests == []

    asyncio.run(run())
    assert "private network" in caplog.text
    assert "link-local" in caplog.text


def test_a_newer_notice_takes_the_place_of_one_that_waits() -> None:
    """While a receiver is down its line does not grow: what is over is told, what began no more."""

    async def run() -> None:
        async with ScriptedUpstream(scripted(200)) as up:
            async with outbox(Receiver(kind="webhook", url=up.url, private=True)) as box:
                notice = firing()
                for state in ("firing", "changed", "ended"):
                    box.put(msgspec.structs.replace(notice, state=state))
                await box.drain()
            assert [seen.json["state"] for seen in up.requests] == ["ended"]

    asyncio.run(run())


async def _mailbox(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, got: list[str]) -> None:
    """A server that takes one mail without TLS."""
    writer.write(b"220 mx\r\n")
    while line := await reader.readline():
        word = line.split()[0].upper()
        if word == b"DATA":
            writer.write(b"354 go\r\n")
            got.append((await reader.readuntil(b"\r\n.\r\n")).decode())
        writer.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
        await writer.drain()
        if word == b"QUIT":
            break
    writer.close()


def test_a_mail_is_handed_over_and_a_password_is_not_in_the_clear(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """To a real SMTP server; one that can't encrypt gets no password."""
    monkeypatch.setenv("MAIL_KEY", "hush")
    got: list[str] = []

    async def run() -> None:
        server = await asyncio.start_server(lambda reader, writer: _mailbox(reader, writer, got), "127.0.0.1", 0)
        async with server:
            url = f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            plain = Receiver(kind="email", url=url, sender="t@example.com", to=["a@example.com"], private=True)
            async with outbox(plain, msgspec.structs.replace(plain, user="u", key="env:MAIL_KEY")) as box:
                box.put(firing())
                await box.drain()
                assert (box.delivered, box.given_up) == (1, 1)

    asyncio.run(run())
    assert message_from_string(got[0])["To"] == "a@example.com"
    assert "gets no password" in caplog.text


# --- watching


class Clock(SystemClock):
    """A wall that the test moves."""

    def __init__(self, now: int) -> None:
        self.now = now

    def wall_ns(self) -> int:  # type: ignore[override]
        return self.now


def write(folder: Path, rows: Iterable[Record], worker: int = 0) -> None:
    journal = Journal(folder / "var" / "records", worker, SystemClock(), group_s=0.001)
    for row in rows:
        row.tenant, row.channel = "hr", "assistant"
        journal.write(row)
    assert journal.flush()
    journal.close()


def test_watching_tells_goes_on_after_a_restart_and_tells_the_end(tmp_path: Path) -> None:
    """From records on disk to a real server: firing with what changed, silence while it lasts (also for a new
    process), a reloaded workspace, the end."""

    async def run() -> None:
        async with ScriptedUpstream(scripted(200)) as up:
            slo = f"link: {LINK}\nreceivers: {{hook: {{kind: webhook, url: '{up.url}', private: true}}}}\n"
            sandbox = Sandbox(tmp_path).write("slo.yaml", slo)
            write(sandbox.folder, slow())
            clock, dialer = Clock(NOW), Http1Dialer()
            watch = Watch(sandbox.folder, clock, dialer)
            _, first = await watch.step()
            assert {notice.state for notice in first} == {"firing"}
            assert (await watch.step())[1] == []
            await watch.outbox.drain()
            again = Watch(sandbox.folder, clock, dialer)
            assert (await again.step())[1] == []
            sandbox.append("slo.yaml", "objectives: [{channels: ['*'], objective: guard, target: 0.9}]\n")
            statuses, none = await again.step()
            assert "hr/assistant/guard" in {one.objective.id for one in statuses}
            assert none == []
            sandbox.write("tenants/hr.yaml", "id: hr\n")  # broken: the last good one stays in force
            assert (await again.step())[1] == []
            write(sandbox.folder, traffic(3, NOW, NOW + 3 * HOUR, 1200, 0.0), worker=1)
            clock.now = NOW + 3 * HOUR
            _, last = await again.step()
            assert ("hr/assistant:page", "ended") in {(notice.key, notice.state) for notice in last}
            await again.outbox.drain()
            await dialer.close()
            assert "ended" in {seen.json["state"] for seen in up.requests}
            assert up.requests[0].json["changes"]["requests"] > 100

    asyncio.run(run())


def test_the_commands_tell_the_truth_by_exit_code(tmp_path: Path) -> None:
    """show: 1 while something is overdrawn, with the amount below zero; gate: 1 while that freezes changes; watch
    --once: 1 where nobody could be told."""
    slo = "receivers: {hook: {kind: webhook, url: 'http://127.0.0.1:9/', channels: [hr/*]}}\n"
    folder = Sandbox(tmp_path).write("slo.yaml", slo).folder
    now = SystemClock().wall_ns()
    write(folder, [answer(now - 10 * MINUTE + index * 10**9, None, met=Met(latency=False)) for index in range(400)])
    shown = CliRunner().invoke(cli, ["slo", "--workspace", str(folder)])
    assert shown.exit_code == 1
    line = next(line for line in shown.stdout.splitlines() if line.startswith("hr/assistant/latency"))
    assert line.split()[3:8] == ["exhausted", "400", "400", "40", "-900.0%"]
    assert "frozen: -900.0% of the budget of hr/assistant/latency is left" in shown.stdout
    other = CliRunner().invoke(cli, ["slo", "show", "--channel", "commerce/*", "--workspace", str(folder)])
    assert other.exit_code == 0
    assert "insufficient_data" in other.stdout
    for glob, code, said in (("hr/*", 1, "frozen: -900.0%"), ("commerce/*", 0, "open: no objective")):
        gated = CliRunner().invoke(cli, ["slo", "gate", "--channel", glob, "--workspace", str(folder)])
        assert (gated.exit_code, gated.stdout.startswith(said)) == (code, True), gated.output
    watched = CliRunner().invoke(cli, ["slo", "watch", "--once", "--workspace", str(folder)])
    assert watched.exit_code == 1, watched.output
    assert "firing  hr/assistant: budget of latency burns (page)" in watched.stdout
