"""The credentials of a gateway, each made once: a fleet that is set anew goes on with those that it had."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from trimtab.core.clock import Clock
from trimtab.core.models import AwsTerms, Model, aws_region
from trimtab.dataplane.inference import AwsKeys, Credential, Dialer, Lasting, fetch_aws
from trimtab.foundations.config import resolve_secret


class Keyring:
    """By what they are made of: a reference whose secret is another now makes another credential."""

    def __init__(self, clock: Clock, dialer: Dialer, environ: Mapping[str, str] = os.environ) -> None:
        self._clock, self._dialer, self._environ = clock, dialer, environ
        self._made: dict[tuple[object, ...], Credential] = {}
        self._asked: set[tuple[object, ...]] = set()

    def of_aws(self, endpoint: str, model: Model, folder: Path, name: str) -> Credential:
        """Signatures for this endpoint. Raises SecretError, ValueError, or ImportError without the extra."""
        terms = model.aws
        assert terms is not None
        region = terms.region or aws_region(urlsplit(endpoint).hostname or "")
        if region is None:
            raise ValueError("the region is not in the endpoint's name: write aws.region")
        keys = _declared(terms, folder) if terms.by == "keys" else None

        def make() -> Credential:
            from trimtab.dataplane.inference.adapters.sigv4 import SigV4, of_profile

            async def fetch() -> Lasting[AwsKeys]:
                if keys is not None:
                    return Lasting(keys, None)
                if terms.by == "profile":
                    return Lasting(await self._clock.offload(partial(of_profile, terms.profile, self._environ)), 900.0)
                return await fetch_aws(terms, region, self._dialer, self._clock, self._environ)

            return SigV4(self._clock, region, fetch, f"the AWS keys of the model {name}")

        return self._kept(("aws", region, terms, keys), make)

    def of_google(self, reference: str, model: Model, folder: Path, name: str) -> Credential:
        """Tokens of the service account behind a reference. Raises as above."""
        text = resolve_secret(reference, folder).reveal()

        def make() -> Credential:
            from trimtab.dataplane.inference.adapters.service_account import ServiceAccount

            title = f"the access token of the model {name}"
            return ServiceAccount(self._clock, self._dialer, text, private=model.private, name=title)

        return self._kept(("google", text, model.private), make)

    def drop_unused(self) -> None:
        """Close what was not asked for since this was called last."""
        for key in self._made.keys() - self._asked:
            self._made.pop(key).close()
        self._asked = set()

    def close(self) -> None:
        self._asked = set()
        self.drop_unused()

    def _kept(self, key: tuple[object, ...], make: Callable[[], Credential]) -> Credential:
        key = tuple(repr(part) if isinstance(part, AwsTerms) else part for part in key)  # documents don't hash
        if key not in self._made:
            self._made[key] = make()
        self._asked.add(key)
        return self._made[key]


def _declared(terms: AwsTerms, folder: Path) -> AwsKeys:
    if terms.access_key is None or terms.secret_key is None:
        raise ValueError("by: keys needs access_key and secret_key")
    token = None if terms.session_token is None else resolve_secret(terms.session_token, folder).reveal()
    access, secret = (resolve_secret(one, folder).reveal() for one in (terms.access_key, terms.secret_key))
    return AwsKeys(access, secret, token)
