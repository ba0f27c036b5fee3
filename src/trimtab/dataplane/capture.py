"""The texts of a request to where they are kept, if its channel says `capture: redacted`.

Nothing is kept of a request that ended before the guard had looked at it. The answer is taken as it may be stored, with
placeholders and not with what they stand for, and goes through the same checks once more: a model may say what nobody
sent.
"""

from __future__ import annotations

from typing import Any

from trimtab.core.captured import CapturedText
from trimtab.dataplane.guard import regions_of, screen_in
from trimtab.dataplane.ingress import Bound
from trimtab.dataplane.run import Run
from trimtab.foundations.derive import pseudonym, tenant_secret


def captures(run: Run) -> bool:
    """Whether this request's texts are to be kept."""
    bound = run.bound
    return run.plane.texts is not None and run.screened and bound is not None and bound.channel.capture == "redacted"


def keep(run: Run) -> None:
    """Hand the texts over; once, when the request has ended."""
    texts, bound, body = run.plane.texts, run.bound, run.body
    if texts is None or bound is None or body is None or not captures(run):
        return
    texts.keep(
        CapturedText(
            record=run.record.id,
            tenant=bound.tenant.id,
            subject=subject_of(body.user, bound.session, run.plane.secret, bound.tenant.id),
            messages=[dict(message) for message in body.messages],
            answers=_answers(run, bound),
        )
    )


def subject_of(user: str | None, session: str, workspace_secret: bytes, tenant: str) -> str:
    """16 hex that are the same for one person, as far as the caller tells who it is."""
    return session if user is None else pseudonym(tenant_secret(workspace_secret, tenant), f"user\0{user}")


def _answers(run: Run, bound: Bound) -> list[dict[str, Any]] | None:
    if run.template is not None:
        return None
    whole = run.stored.data if run.stored is not None else run.whole
    if whole is None:
        return None
    said = tuple(choice["message"] for choice in whole["choices"])
    regions = regions_of((bound.entry.key.market or "", *bound.tenant.markets))
    return [dict(message) for message in screen_in(said, {}, bound.channel.guards.checks_in, regions).messages]


__all__ = ["captures", "keep", "subject_of"]
