"""The bodies of a notice: our own JSON, what Slack's incoming webhooks take, PagerDuty's Events API v2, an e-mail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, Final

from trimtab.controlplane.slo.engine import Alert, Status
from trimtab.controlplane.slo.notices import Notice
from trimtab.core.canonical import canonical, digest
from trimtab.core.clock import instant_text
from trimtab.core.money import usd

PAGERDUTY_URL: Final = "https://events.pagerduty.com/v2/enqueue"
_SUMMARY_MOST: Final = 1024
_TEXT_MOST: Final = 2900
"""Slack takes 3,000 characters in a section."""
_MARKS: Final = {"firing": ":rotating_light:", "changed": ":rotating_light:", "ended": ":white_check_mark:"}


def lines(notice: Notice) -> Iterator[str]:
    """What stands below the headline, for people."""
    by_id = {status.objective.id: status for status in notice.statuses}
    for alert in notice.alerts:
        yield _alert(alert)
        yield f"  {_budget(by_id[alert.objective])}"
    if notice.changes is not None:
        changed = list(notice.changes.lines())
        yield f"What changed: {'; '.join(changed)}" if changed else "What changed: nothing that the records show"


def webhook(notice: Notice) -> bytes:
    """Our own, version 1."""
    return canonical(
        {
            "v": 1,
            "key": notice.key,
            "state": notice.state,
            "severity": notice.severity,
            "tenant": notice.tenant,
            "channel": notice.channel,
            "headline": notice.headline,
            "at": instant_text(notice.at_ns),
            "since": instant_text(notice.since_ns),
            "alerts": notice.alerts,
            "budgets": {status.objective.id: status.budget for status in notice.statuses},
            "changes": notice.changes,
            "link": notice.link,
        }
    )


def slack(notice: Notice) -> bytes:
    """A fallback text and blocks; `&`, `<` and `>` are escaped as Slack wants it."""
    text = "\n".join(lines(notice))[:_TEXT_MOST]
    blocks: list[dict[str, Any]] = [_section(f"{_MARKS[notice.state]} *{_escaped(notice.headline)}*")]
    if text:
        blocks.append(_section(_escaped(text)))
    told = f"since {instant_text(notice.since_ns)}"
    if notice.link is not None:
        told += f" · <{notice.link}|open>"
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": told}]})
    return canonical({"text": _escaped(notice.headline), "blocks": blocks})


def pagerduty(notice: Notice, routing_key: str) -> bytes:
    """An event that triggers, or resolves what it had triggered: `dedup_key` is the group's."""
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "resolve" if notice.state == "ended" else "trigger",
        "dedup_key": f"trimtab-slo:{notice.key}",
        "client": "trimtab",
        "payload": {
            "summary": notice.headline[:_SUMMARY_MOST],
            "source": notice.place,
            "severity": "critical" if notice.severity == "page" else "warning",
            "timestamp": instant_text(notice.at_ns),
            "component": notice.channel or notice.tenant,
            "group": notice.tenant,
            "class": "slo",
            "custom_details": {"lines": list(lines(notice)), "alerts": notice.alerts},
        },
    }
    if notice.link is not None:
        event |= {"client_url": notice.link, "links": [{"href": notice.link, "text": "dashboard"}]}
    return canonical(event)


def email(notice: Notice, sender: str, to: Sequence[str]) -> EmailMessage:
    """Plain text. All messages of a group since it began are one thread."""
    domain = sender.rpartition("@")[2].rstrip(">") or "localhost"
    thread = f"<{digest([notice.key, notice.since_ns], 24)}@{domain}>"
    message = EmailMessage()
    message["From"], message["To"] = sender, ", ".join(to)
    message["Subject"] = f"[trimtab] {notice.headline}"
    message["Date"] = format_datetime(datetime.fromtimestamp(notice.at_ns // 10**9, UTC))
    if notice.state == "firing":
        message["Message-ID"] = thread
    else:
        message["Message-ID"] = f"<{digest([notice.key, notice.at_ns], 24)}@{domain}>"
        message["In-Reply-To"] = message["References"] = thread
    body = [notice.headline, "", *lines(notice), "", f"Since {instant_text(notice.since_ns)}."]
    message.set_content("\n".join([*body, *([notice.link] if notice.link is not None else [])]) + "\n")
    return message


def _alert(alert: Alert) -> str:
    burn = "" if alert.burn is None else f", {alert.burn:.1f} times too fast"
    found = alert.certificate
    return f"{alert.objective}: {' and '.join(alert.by)}{burn} ({found.claim}, error {found.error:.2g})"


def _budget(status: Status) -> str:
    budget = status.budget
    if budget.unit == "nanousd":
        return f"spent ${usd(budget.spent)} of ${usd(budget.allowance)}, ${usd(budget.left)} left"
    share = "" if budget.left_share is None else f" ({budget.left_share:.0%})"
    return f"{budget.spent:,} bad of {budget.allowance:,} allowed in {budget.events:,}, {budget.left:,} left{share}"


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
