"""trimtab.yaml, telemetry: a collector that can be reached by what is written, and no secret in the clear."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final
from urllib.parse import urlsplit

from trimtab.controlplane.registry.checks.secrets import secret
from trimtab.controlplane.registry.checks.view import Found, View, error, warning
from trimtab.controlplane.registry.documents import SETTINGS
from trimtab.foundations.config import Path

OWN: Final = frozenset({"accept", "connection", "content-encoding", "content-length", "content-type", "host"}) | {
    "transfer-encoding"
}
"""Headers that are the exporter's to write."""
_URL: Path = ("telemetry", "otlp")
_WRITE: Final = "Write e.g. otlp: http://127.0.0.1:4318"
_LOCAL: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def url(view: View) -> Found:
    """The collector's URL is one that traces can be posted to, and its library is installed."""
    told = view.documents.settings.telemetry.otlp
    if told is None:
        return
    problem = _problem(told)
    if problem is not None:
        yield error(SETTINGS, _URL, problem, _WRITE)
    elif find_spec("opentelemetry") is None or find_spec("opentelemetry.proto") is None:
        hint = "Install it: pip install 'trimtab[otlp]'"
        yield error(SETTINGS, _URL, "the encoding of OTLP is not installed", hint)


def headers(view: View) -> Found:
    """Headers stand here by reference only, go to somebody, and are not sent in the clear over a network."""
    telemetry = view.documents.settings.telemetry
    for name, told in telemetry.headers.items():
        path = ("telemetry", "headers", name)
        if name in OWN:
            yield error(SETTINGS, path, "is written by the exporter itself", "Delete the line.")
            continue
        yield from secret(view, path, told, None if telemetry.otlp is not None else "goes to nobody without otlp")
    if telemetry.headers and telemetry.otlp is not None and _problem(telemetry.otlp) is None:
        parts = urlsplit(telemetry.otlp)
        if parts.scheme == "http" and parts.hostname not in _LOCAL:
            yield warning(SETTINGS, _URL, "headers go there unencrypted", "Write https://, where the collector has it.")


def _problem(told: str) -> str | None:
    try:
        parts = urlsplit(told)
        port = parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme not in ("http", "https"):
        return "is no http or https URL"
    if parts.username is not None or parts.password is not None:
        return "holds a user or a password: these go into headers, by reference"
    if not parts.hostname:
        return "names no host"
    if port == 0:
        return "names port 0"
    if port == 4317:
        return "names 4317, the port of OTLP over gRPC: over HTTP it is 4318 as a rule"
    return "has something behind a question mark or a hash" if parts.query or parts.fragment else None


CHECKS = (url, headers)
