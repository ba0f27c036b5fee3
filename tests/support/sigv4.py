"""AWS's signature, version 4, by its description ("Create a signed AWS API request"): what a server does to check one.

Written apart from what signs, of the standard library alone; `tests/inference/test_aws.py` shows it on the vectors that
AWS has published.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from urllib.parse import quote

from support.upstream import Seen

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)


def is_signed(seen: Seen, secret: str, *, service: str, region: str) -> bool:
    """Whether who holds `secret` has signed this request, body and all, for this service and region."""
    found = _AUTHORIZATION.fullmatch(seen.headers.get("authorization", ""))
    if found is None:
        return False
    _, day, its_region, its_service, names, signature = found.groups()
    if (its_region, its_service) != (region, service) or not {"host", "x-amz-date"} <= set(names.split(";")):
        return False
    path, _, query = seen.path.partition("?")
    canonical = [
        seen.method,
        quote(path, safe="/-_.~"),  # of a path as it was sent: what is escaped there is escaped once more
        "&".join(sorted(query.split("&"))) if query else "",
        *(f"{name}:{' '.join(seen.headers[name].split())}" for name in names.split(";")),
        "",
        names,
        sha256(seen.body).hexdigest(),
    ]
    stamp, scope = seen.headers["x-amz-date"], f"{day}/{region}/{service}/aws4_request"
    signed = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, sha256("\n".join(canonical).encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return stamp.startswith(day) and hmac.compare_digest(hmac.digest(key, signed.encode(), "sha256").hex(), signature)
