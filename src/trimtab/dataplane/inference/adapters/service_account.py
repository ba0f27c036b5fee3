"""Google's access tokens by a service account's key (RFC 7523: a signed assertion for a token). Needs the extra
`vertex`.

Why not google-auth: what is needed of it is one signature and one form; its requests would leave by a client of its
own, and the dialer is the only way out of a gateway.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

import msgspec

from trimtab.core.clock import NS_PER_S, Clock
from trimtab.dataplane.inference.credentials import Kept, Lasting
from trimtab.dataplane.inference.dialer import Dialer, MalformedAnswer, Origin

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ASSERTED_S = 3600
_MOST_BYTES = 65536
_FORM = ("content-type", "application/x-www-form-urlencoded")
_encode = msgspec.json.encode


class _File(msgspec.Struct):
    """What is read of a service account's key file."""

    client_email: str
    private_key: str
    private_key_id: str
    token_uri: str


class _Told(msgspec.Struct):
    access_token: str
    expires_in: int


class ServiceAccount:
    """A credential: a bearer token, had for an assertion that the account's key has signed. Raises ValueError for a
    text that is no such file; nothing of it is in the message. `private`: the token's server may be on a network of
    ours."""

    def __init__(self, clock: Clock, dialer: Dialer, text: str, *, private: bool, name: str) -> None:
        try:
            self._file = msgspec.json.decode(text, type=_File)
        except msgspec.DecodeError:
            raise ValueError("is no key file of a service account (JSON)") from None
        self._origin = Origin.parse(self._file.token_uri, private=private)
        if self._origin.scheme != "https" and not private:
            raise ValueError("has a token_uri that is not https")
        self._path = urlsplit(self._file.token_uri).path or "/"
        self._sign = _signer(self._file.private_key)
        self._clock, self._dialer = clock, dialer
        self._kept = Kept(clock, self._fetch, name)
        self._kept.begin()

    async def headers(self, origin: Origin, path: str, body: bytes) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {await self._kept.value()}"),)

    def refused(self) -> None:
        self._kept.refused()

    def close(self) -> None:
        self._kept.close()

    async def _fetch(self) -> Lasting[str]:
        assertion = await self._clock.offload(self._assertion, self._clock.wall_ns() // NS_PER_S)
        form = urlencode({"grant_type": _GRANT, "assertion": assertion}).encode()
        answer = await self._dialer.send(self._origin, "POST", self._path, [_FORM], form)
        with answer:
            data = await answer.read_all(_MOST_BYTES)
        if answer.status != 200:
            raise MalformedAnswer(f"{self._origin.netloc} answered {answer.status}{_why(data)}")
        try:
            told = msgspec.json.decode(data, type=_Told)
        except msgspec.DecodeError:
            raise MalformedAnswer(f"{self._origin.netloc} told no token") from None
        return Lasting(told.access_token, float(told.expires_in))

    def _assertion(self, now_s: int) -> str:
        """A JSON web token, signed by RS256."""
        head = {"alg": "RS256", "typ": "JWT", "kid": self._file.private_key_id}
        claims = {
            "iss": self._file.client_email,
            "scope": SCOPE,
            "aud": self._file.token_uri,
            "iat": now_s,
            "exp": now_s + _ASSERTED_S,
        }
        signed = f"{_base64(_encode(head))}.{_base64(_encode(claims))}"
        return f"{signed}.{_base64(self._sign(signed.encode()))}"


def _signer(pem: str) -> Callable[[bytes], bytes]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("has a private_key that is none in PEM") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("has a private_key of another kind than RSA")  # noqa: TRY004 - it is what the text says
    return lambda data: key.sign(data, PKCS1v15(), SHA256())


def _why(data: bytes) -> str:
    """OAuth's error, and what a wrong clock looks like there."""
    try:
        told = msgspec.json.decode(data)
        error, said = str(told.get("error", ""))[:64], str(told.get("error_description", ""))
    except (msgspec.DecodeError, AttributeError):
        return ""
    clock = ": this machine's clock may be wrong" if "iat" in said and "exp" in said else ""
    return f" ({error}){clock}" if error else ""


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
