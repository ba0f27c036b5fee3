"""Secrets come by reference, `env:NAME` or `file:PATH`, and are never shown."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

_REFERENCE = re.compile(r"(env):([A-Za-z_][A-Za-z0-9_]*)|(file):(\S.*)")
_MAX_SECRET_BYTES = 64 * 1024

# Shapes of credentials that people paste by mistake. Each needs a prefix of its own: a hash or a UUID is not a secret.
_SHAPES = (
    ("an API key of this gateway", re.compile(r"\btt_(?:live|test)_[0-9A-Za-z]{20,}")),
    ("an sk- API key", re.compile(r"\b(?:sk|rk|pk)[-_](?:[A-Za-z0-9]+[-_])*[A-Za-z0-9]{16,}")),
    ("an AWS access key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a GitHub token", re.compile(r"\bgh[pousr]_[0-9A-Za-z]{36}|\bgithub_pat_[0-9A-Za-z_]{22,}")),
    ("a Google API key", re.compile(r"\bAIza[0-9A-Za-z_-]{35}")),
    ("a Hugging Face token", re.compile(r"\bhf_[0-9A-Za-z]{30,}")),
    ("a Slack token", re.compile(r"\bxox[abprs]-[0-9A-Za-z-]{10,}")),
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
    ("a JSON web token", re.compile(r"\beyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,}")),
    ("a password in a URL", re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@]*:[^\s/@]{3,}@")),
    ("a password", re.compile(r"(?i)\b(?:password|passwd|api[_-]?key|secret)\s*[:=]\s*[\"']?[^\s\"'{}<>$]{8,}")),
)


class SecretError(Exception):
    """The reference can't be resolved; the message names the reference, never a value."""


class Secret:
    """A resolved secret: `reveal()` at the place of use; printing it shows where it came from only."""

    __slots__ = ("_source", "_value")

    def __init__(self, source: str, value: str) -> None:
        self._source, self._value = source, value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return f"<Secret {self._source}>"

    __str__ = __repr__


def is_reference(text: str) -> bool:
    """Whether `text` has the form of a reference (not whether it resolves)."""
    return _REFERENCE.fullmatch(text) is not None


def resolve_secret(reference: str, folder: Path, environ: Mapping[str, str] | None = None) -> Secret:
    """The secret behind `env:NAME` or `file:PATH` (relative to `folder`), trailing line end dropped.

    Raises SecretError for another form, an unset or blank variable, a file that can't be read or is blank.
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise SecretError("a secret must be given as env:NAME or file:PATH; what stands here is neither")
    if found.group(1):
        return _from_environment(reference, found.group(2), os.environ if environ is None else environ)
    return _from_file(reference, folder / Path(found.group(4)).expanduser())


def secret_shaped(text: str) -> str | None:
    """What kind of credential `text` seems to hold, in words without the value; None if none."""
    return next((name for name, shape in _SHAPES if shape.search(text)), None)


def shown(text: str) -> str:
    """`text` in quotes for an error message: clipped, on one line, and masked where it may be a credential."""
    if secret_shaped(text) or (len(text) >= 20 and re.fullmatch(r"[^\s.,:;/]+", text)):
        return f'"{text[:3]}..." ({len(text)} characters)'
    flat = " ".join(text.split())
    return f'"{flat[:40]}..."' if len(flat) > 40 else f'"{flat}"'


def _from_environment(reference: str, name: str, environ: Mapping[str, str]) -> Secret:
    value = environ.get(name, "")
    if not value.strip():
        raise SecretError(f"the environment variable {name} is not set or blank; export it before the start")
    return Secret(reference, value.rstrip("\r\n"))


def _from_file(reference: str, path: Path) -> Secret:
    try:
        with path.open("rb") as handle:
            raw = handle.read(_MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise SecretError(f"the secret {reference} can't be read: {error.strerror}") from None
    if len(raw) > _MAX_SECRET_BYTES:
        raise SecretError(f"the secret {reference} is larger than 64 KiB: is it the right file?")
    try:
        value = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise SecretError(f"the secret {reference} is not UTF-8 text") from None
    if not value.strip():
        raise SecretError(f"the secret {reference} is blank")
    return Secret(reference, value)
