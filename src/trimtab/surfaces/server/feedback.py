"""`POST /v1/feedback`: what came of an answer, as whoever got it says. Thumbs, satisfaction, conversions, abandonment.

It becomes a row of its own (`kind: verdict`, `of` the answer's record) with the answer's channel, variant and arm, so
that reports and objectives count it without a join. The record itself is never changed; who says something else later
leaves another row, and the last one counts.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from trimtab.core.errors import Code, Refusal
from trimtab.core.record import Record, blank
from trimtab.core.request import Head
from trimtab.core.rows import Met, VerdictRow
from trimtab.dataplane.ingress import authenticate
from trimtab.dataplane.plane import DataPlane
from trimtab.surfaces.server import fields
from trimtab.surfaces.server.exchange import HttpError, HttpReply, HttpRequest
from trimtab.surfaces.server.fields import InvalidError
from trimtab.surfaces.server.openai import send_error, send_json

JUDGING: Final = frozenset({"thumb", "csat", "correct"})
"""Names whose score says whether the answer was good (at least a half): the objective `quality` counts them. What
others say is about the caller's business, not about the answer."""
GOOD: Final = 0.5
CSAT: Final = (1, 5)
MOST_COMMENT: Final = 4096
_FIELDS: Final = frozenset({"record", "name", "score", "label", "value", "comment"})
_KEPT: Final = ("tenant", "channel", "route", "persona", "market", "session", "role", "experiment", "path", "tier")


class Said(NamedTuple):
    """A body that holds."""

    record: str
    verdict: VerdictRow


async def create(http: HttpRequest, reply: HttpReply, plane: DataPlane) -> None:
    """`POST /v1/feedback`. Who may say something of an answer is whoever has a key of its tenant."""
    found = await _taken(http, plane)
    if isinstance(found, Refusal):
        send_error(reply, found, [], None)
        return
    plane.sink.write(found)
    send_json(reply, 200, {"object": "feedback", "id": found.id, "record": found.of})


async def _taken(http: HttpRequest, plane: DataPlane) -> Record | Refusal:
    snapshot = plane.configuration.snapshot
    head = Head(http.method, http.path, http.headers)
    entry = authenticate(head, http.arrival, snapshot.tenancy, plane.clock.wall_ns())
    if isinstance(entry, Refusal):
        return entry
    charged = await plane.limiter.charge_request(entry)
    if charged.refusal is not None:
        return charged.refusal
    try:
        said = read(await http.body())
    except HttpError as error:
        return Refusal(code=error.code, message=error.message, retry_after_s=error.retry_after_s)
    if isinstance(said, Refusal):
        return said
    about = await plane.recorded(said.record)
    if about is None or about.tenant != entry.tenant.id:
        message = "there is no record of this id among those of this key's tenant"
        return Refusal(code=Code.RECORD_NOT_FOUND, message=message, param="record")
    row = blank(plane.ids.record_id(), plane.clock.wall_ns())
    row.kind, row.of, row.key_id, row.verdict = "verdict", about.id, entry.key.id, said.verdict
    row.variant, row.snapshots = about.variant, about.snapshots
    for name in _KEPT:
        setattr(row, name, getattr(about, name))
    if said.verdict.name in JUDGING and said.verdict.score is not None:
        row.met = Met(quality=said.verdict.score >= GOOD)
    return row


def read(data: bytes) -> Said | Refusal:
    """A body: `record`, and at least one of `score`, `label` and `value`."""
    try:
        raw = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Refusal(code=Code.MALFORMED_JSON, message="the body is not valid JSON")
    if not isinstance(raw, dict):
        return Refusal(code=Code.INVALID_REQUEST, message="the body must be a JSON object")
    try:
        return _said(raw)
    except InvalidError as error:
        return Refusal(code=error.code, message=str(error), param=error.param)


def _said(raw: dict[str, Any]) -> Said:
    if unknown := sorted(raw.keys() - _FIELDS):
        raise InvalidError(unknown[0][:64], f"is not known here: send {', '.join(sorted(_FIELDS))}")
    record = fields.text(raw.get("record"), "record", 64)
    if record is None:
        raise InvalidError("record", "is needed: the answer's trimtab-record, or its id")
    score = fields.number(raw.get("score"), "score", 0, 1)
    value = fields.number(raw.get("value"), "value", -1e15, 1e15)
    label = _slug(raw.get("label"), "label")
    if score is None and value is None and label is None:
        raise InvalidError("score", "is needed (0 to 1), or label, or value")
    default = "thumb" if score is not None else "value" if label is None else "label"
    name = _slug(raw.get("name"), "name") or default
    if name == "csat" and score is None and value is not None:
        least, most = CSAT
        score = ((fields.number(value, "value", least, most) or least) - least) / (most - least)
    if fields.text(raw.get("comment"), "comment", MOST_COMMENT):
        message = "is not kept anywhere: records hold no text. Leave it out, or keep it beside the record's id"
        raise InvalidError("comment", message, Code.UNSUPPORTED)
    wanted = "rec_" + record.removeprefix("rec_").removeprefix("chatcmpl-").upper()
    return Said(wanted, VerdictRow(name=name, score=score, label=label, value=value))


def _slug(value: Any, param: str) -> str | None:
    """A short name, so that no text of anybody's gets into records by this way."""
    found = fields.text(value, param, 64)
    if found is not None and not all(one.isascii() and (one.isalnum() or one in "-_.") for one in found):
        raise InvalidError(param, "takes letters, digits, dashes, dots and underscores")
    return found or None


__all__ = ["create", "read"]
