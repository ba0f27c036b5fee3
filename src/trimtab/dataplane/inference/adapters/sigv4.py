"""AWS's signatures (SigV4) and its files of profiles, by botocore. Needs the extra `bedrock`.

Of botocore only what computes is used: the signer and the readers of files. Its HTTP, its proxies and its endpoints of
credentials are never touched, and the time is the gateway's own clock.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from trimtab.core.clock import NS_PER_S, Clock
from trimtab.dataplane.inference.aws import AwsKeys
from trimtab.dataplane.inference.credentials import Kept, Lasting
from trimtab.dataplane.inference.dialer import Origin

_SERVICE = "bedrock"


class SigV4:
    """A credential: each request signed with the keys that are good now."""

    def __init__(self, clock: Clock, region: str, fetch: Callable[[], Awaitable[Lasting[AwsKeys]]], name: str) -> None:
        import botocore.auth
        import botocore.awsrequest
        import botocore.credentials

        self._auth, self._request = botocore.auth.SigV4Auth, botocore.awsrequest.AWSRequest
        self._credentials = botocore.credentials.Credentials
        self._clock, self._region = clock, region
        self._kept = Kept(clock, fetch, name)
        self._kept.begin()

    async def headers(self, origin: Origin, path: str, body: bytes) -> tuple[tuple[str, str], ...]:
        keys = await self._kept.value()
        stamp = datetime.fromtimestamp(self._clock.wall_ns() // NS_PER_S, UTC).strftime("%Y%m%dT%H%M%SZ")
        sent = {"X-Amz-Date": stamp}
        if keys.token is not None:
            sent["X-Amz-Security-Token"] = keys.token
        request = self._request("POST", f"{origin.key}{path}", headers={"Host": origin.authority, **sent}, data=body)
        request.context["timestamp"] = stamp
        auth = self._auth(self._credentials(keys.access, keys.secret, keys.token), _SERVICE, self._region)
        signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
        names = auth.signed_headers(auth.headers_to_sign(request))
        told = f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}, SignedHeaders={names}, Signature={signature}"
        return (("authorization", told), *((name.lower(), value) for name, value in sent.items()))

    def refused(self) -> None:
        self._kept.refused()

    def close(self) -> None:
        self._kept.close()


def of_profile(profile: str, environ: Mapping[str, str] = os.environ) -> AwsKeys:
    """Of `~/.aws/credentials`, else of `~/.aws/config`, or where the environment says that these are. Raises ValueError
    where the profile has no keys of its own: programs that would print some are not run."""
    from botocore.credentials import ConfigProvider, SharedCredentialProvider
    from botocore.exceptions import BotoCoreError

    home = Path.home() / ".aws"
    shared = environ.get("AWS_SHARED_CREDENTIALS_FILE") or str(home / "credentials")
    config = environ.get("AWS_CONFIG_FILE") or str(home / "config")
    try:
        found = SharedCredentialProvider(shared, profile).load() or ConfigProvider(config, profile).load()
    except BotoCoreError as error:
        raise ValueError(str(error)) from None
    if found is None:
        raise ValueError(f"the profile {profile} has no aws_access_key_id, in {shared} or {config}")
    return AwsKeys(found.access_key, found.secret_key, found.token)
