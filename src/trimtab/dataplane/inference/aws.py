"""Where AWS keys come from: references, a profile, or a role that is given for a token of the cluster, by the container
or by the machine (AWS SDKs and Tools reference guide, "Standardized credential providers").

The last three are fetched here, by the gateway's own dialer: addresses are checked, no redirect is followed, no proxy
setting is read. Where clouds serve credentials (169.254.x.x) nothing is asked unless the document says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from trimtab.core.clock import NS_PER_S, Clock
from trimtab.core.models import AwsTerms
from trimtab.dataplane.inference.credentials import Lasting
from trimtab.dataplane.inference.dialer import Dialer, MalformedAnswer, Origin
from trimtab.foundations.addresses import SERVES_CREDENTIALS

_MACHINE = "http://169.254.169.254"
_CONTAINER = "http://169.254.170.2"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_MOST_BYTES = 65536
_SESSION_S = "21600"
_FORM = ("content-type", "application/x-www-form-urlencoded")


class AwsKeys(msgspec.Struct, frozen=True):
    """What requests are signed with. Never logged."""

    access: str
    secret: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"<AwsKeys {self.access[:4]}...>"


async def fetch(
    terms: AwsTerms, region: str, dialer: Dialer, clock: Clock, environ: Mapping[str, str]
) -> Lasting[AwsKeys]:
    """The keys of a role. Raises UpstreamError, OSError or ValueError, whose message says what is missing."""
    match terms.by:
        case "web-identity":
            return await _by_web_identity(terms, region, dialer, clock, environ)
        case "container":
            return await _by_container(dialer, clock, environ)
        case "instance":
            return await _by_instance(dialer, clock, environ)
        case _:
            raise ValueError(f"keys by {terms.by} are not fetched")


async def _by_web_identity(
    terms: AwsTerms, region: str, dialer: Dialer, clock: Clock, environ: Mapping[str, str]
) -> Lasting[AwsKeys]:
    """AssumeRoleWithWebIdentity of STS: a role for the token that the cluster puts into a file, and renews there."""
    role = terms.role or _needed(environ, "AWS_ROLE_ARN")
    file = Path(terms.token_file or _needed(environ, "AWS_WEB_IDENTITY_TOKEN_FILE"))
    token = (await clock.offload(file.read_text)).strip()
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role,
        "RoleSessionName": environ.get("AWS_ROLE_SESSION_NAME") or "trimtab",
        "WebIdentityToken": token,
    }
    endpoint = terms.sts or f"https://sts.{region}.amazonaws.com"
    origin = Origin.parse(endpoint, private=terms.sts_private)
    text = await _asked(dialer, origin, "POST", "/", [_FORM], urlencode(form).encode())

    def told(name: str) -> str:
        found = re.search(f"<{name}>([^<]+)</{name}>", text)
        if found is None:
            raise MalformedAnswer(f"STS told no {name}")
        return found[1]

    keys = AwsKeys(told("AccessKeyId"), told("SecretAccessKey"), told("SessionToken"))
    return Lasting(keys, _lasts_s(told("Expiration"), clock))


async def _by_container(dialer: Dialer, clock: Clock, environ: Mapping[str, str]) -> Lasting[AwsKeys]:
    """ECS's task role and EKS's pod identity: the container is told where, and with which token."""
    relative = environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    url = _CONTAINER + relative if relative else _needed(environ, "AWS_CONTAINER_CREDENTIALS_FULL_URI")
    headers = []
    if file := environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        headers = [("authorization", (await clock.offload(Path(file).read_text)).strip())]
    elif token := environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"):
        headers = [("authorization", token)]
    parts = urlsplit(url)
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return _of_json(await _asked(dialer, _metadata(url), "GET", path, headers), clock)


async def _by_instance(dialer: Dialer, clock: Clock, environ: Mapping[str, str]) -> Lasting[AwsKeys]:
    """EC2's instance role: a session first (IMDSv2), then the role's name, then its keys."""
    origin = _metadata(environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _MACHINE)
    wanted = [("x-aws-ec2-metadata-token-ttl-seconds", _SESSION_S)]
    session = [("x-aws-ec2-metadata-token", (await _asked(dialer, origin, "PUT", "/latest/api/token", wanted)).strip())]
    path = "/latest/meta-data/iam/security-credentials/"
    role = (await _asked(dialer, origin, "GET", path, session)).strip().partition("\n")[0]
    if not re.fullmatch(r"[\w+=,.@-]{1,64}", role):
        raise MalformedAnswer("the machine has no role")
    return _of_json(await _asked(dialer, origin, "GET", path + role, session), clock)


def _metadata(url: str) -> Origin:
    """The origin of a place that serves credentials: one of those that clouds have, this machine, or one by https.
    Raises ValueError for any other: a variable of the environment must not say where secrets are sent."""
    host = urlsplit(url).hostname or ""
    if host in SERVES_CREDENTIALS:
        return msgspec.structs.replace(Origin.parse(url), metadata=True)
    if host in _LOOPBACK or urlsplit(url).scheme == "https":
        return Origin.parse(url, private=host in _LOOPBACK)
    raise ValueError(f"{host} is no place that AWS serves credentials at")


async def _asked(
    dialer: Dialer, origin: Origin, method: str, path: str, headers: list[tuple[str, str]], body: bytes = b""
) -> str:
    answer = await dialer.send(origin, method, path, headers, body)
    with answer:
        data = await answer.read_all(_MOST_BYTES)
    if answer.status != 200:
        code = re.search(rb"<Code>(\w{1,64})</Code>", data)
        said = f" ({code[1].decode()})" if code else ""
        raise MalformedAnswer(f"{origin.netloc} answered {answer.status}{said}")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise MalformedAnswer(f"{origin.netloc} answered with bytes that are no text") from None


def _of_json(text: str, clock: Clock) -> Lasting[AwsKeys]:
    try:
        told: Any = msgspec.json.decode(text)
        keys = AwsKeys(*(str(told[name]) for name in ("AccessKeyId", "SecretAccessKey", "Token")))
        return Lasting(keys, _lasts_s(str(told["Expiration"]), clock))
    except (msgspec.DecodeError, KeyError, TypeError):
        raise MalformedAnswer("the answer has no keys") from None


def _lasts_s(until: str, clock: Clock) -> float:
    try:
        end = datetime.fromisoformat(until)
    except ValueError:
        raise MalformedAnswer("the keys' end is no time") from None
    return max(0.0, end.timestamp() - clock.wall_ns() / NS_PER_S)


def _needed(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        raise ValueError(f"the environment variable {name} is not set")
    return value
