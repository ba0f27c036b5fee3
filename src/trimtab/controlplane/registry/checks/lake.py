"""trimtab.yaml, lake: a place that can be opened by what is written, and no secret in it."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from trimtab.controlplane.registry.checks.secrets import secret, seen
from trimtab.controlplane.registry.checks.view import Found, View, error, warning
from trimtab.controlplane.registry.documents import SETTINGS
from trimtab.foundations.config import Path, is_reference, secret_shaped

SCHEMES: Final = ("s3", "s3a", "gs", "az", "adl", "abfs", "abfss")
"""Of object storage; a folder has none."""
_SECRET = re.compile(r"(?i)secret|token|password|account_key|access_key$|sas_key|service_account_key|credential")
_URL: Path = ("lake", "url")


def url(view: View) -> Found:
    """The URL is a folder, or object storage without a password."""
    lake = view.documents.settings.lake
    if lake.is_local:
        return
    try:
        parts = urlsplit(lake.url)
    except ValueError:
        yield error(SETTINGS, _URL, "is no URL", "Write url: var/lake, or e.g. url: s3://BUCKET/PATH")
        return
    if parts.scheme not in SCHEMES:
        hint = "Write url: var/lake, or e.g. url: s3://BUCKET/PATH"
        yield error(SETTINGS, _URL, f"is neither a folder nor a URL of {', '.join(SCHEMES)}", hint)
    elif not parts.netloc:
        yield error(SETTINGS, _URL, "names no bucket", f"Write url: {parts.scheme}://BUCKET/PATH")
    elif parts.password is not None:
        yield error(SETTINGS, _URL, "holds a password", seen("password"))


def options(view: View) -> Found:
    """What is secret stands here by reference only; a folder needs nothing to be opened."""
    lake = view.documents.settings.lake
    if lake.options and lake.is_local:
        yield warning(SETTINGS, ("lake", "options"), "opens nothing: url is a folder", "Delete the line.")
    for name, value in lake.options.items():
        if is_reference(value) or _SECRET.search(name) or secret_shaped(value):
            yield from secret(view, ("lake", "options", name), value, None)


CHECKS = (url, options)
