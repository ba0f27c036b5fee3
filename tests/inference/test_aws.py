"""Requests to Bedrock are signed with keys that are had by one of AWS's ways, and fetched anew before they end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import pytest

from dialects.wires import PROVIDERS
from support.gateway import Edit, Gateway, replaced
from support.sigv4 import is_signed
from support.upstream import Data, Head, Raw, ScriptedUpstream, Seen, Step, answer
from trimtab.core.clock import NS_PER_S, Clock, SystemClock
from trimtab.dataplane.inference import Origin
from trimtab.dataplane.inference.adapters.sigv4 import SigV4
from trimtab.dataplane.inference.aws import AwsKeys
from trimtab.dataplane.inference.credentials import Lasting
from trimtab.dataplane.inference.dialer import ConnectFailed
from trimtab.dataplane.inference.egress import addresses
from trimtab.surfaces.twin import VirtualLoop, run_virtual

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
REGION = "eu-central-1"
VECTORS = {
    "GET": "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    "POST": "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
}
"""AWS's test suite of signatures, `get-vanilla` and `post-vanilla`."""


@pytest.mark.parametrize("method", VECTORS)
def test_the_check_itself_knows_awss_vectors(method: str) -> None:
    """What the servers of these tests reckon is what AWS publishes."""
    told = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
    told += f"SignedHeaders=host;x-amz-date, Signature={VECTORS[method]}"
    headers = {"host": "example.amazonaws.com", "x-amz-date": "20150830T123600Z", "authorization": told}
    seen = Seen(method, "/", headers, b"", 0)
    assert is_signed(seen, SECRET, service="service", region="us-east-1")
    assert not is_signed(seen, SECRET + "x", service="service", region="us-east-1")


def by(terms: str, *, upstream_name: str = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0") -> Edit:
    """The small model is Bedrock's, its keys had this way."""
    old = 'small: {endpoint: "SMALL/v1", tier: S, context: 8192, slots: 4, api_key: "file:upstream.key", private: true}'
    fields = f'upstream_name: "{upstream_name}", tier: S, context: 8192, slots: 4, private: true'
    new = f'small: {{endpoint: "SMALL", dialect: bedrock, aws: {{region: {REGION}, {terms}}}, {fields}}}'
    return replaced("models.yaml", old, new)


KEYS = "by: keys, access_key: file:access.key, secret_key: file:secret.key"


def secrets(folder: Path, **more: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in {"access": "AKIDEXAMPLE", "secret": SECRET, **more}.items():
        (folder / f"{name}.key").write_text(text + "\n")


def bedrock(secret: Callable[[Seen], str | None]) -> Callable[[Seen], Iterable[Step]]:
    """A server that answers what is signed with this secret, and refuses all else as AWS does."""

    def script(seen: Seen) -> Iterable[Step]:
        key = secret(seen)
        if key is None or not is_signed(seen, key, service="bedrock", region=REGION):
            kind = [("x-amzn-errortype", "InvalidSignatureException:http://x")]
            return answer({"message": f"The token {seen.headers.get('x-amz-security-token')} is bad"}, 403, kind)
        return PROVIDERS["bedrock"].text

    return script


def test_a_request_is_signed_body_and_all(tmp_path: Path) -> None:
    """With keys by reference, a session's token among what is signed; the path's colon is escaped once, and once more
    for the signature. A wrong key ejects the replica, and nothing of the keys is told."""
    secrets(tmp_path, session="the-session-token")

    async def main() -> None:
        async with ScriptedUpstream(bedrock(lambda _: SECRET)) as up:
            terms = f"{KEYS}, session_token: file:session.key"
            async with Gateway(tmp_path, up.url, None, by(terms)) as gateway:
                for streamed in (False, True):
                    assert (await gateway.ask("Zürich?", model="tier:S", temperature=1, stream=streamed)).status == 200
                assert up.requests[0].path == ("/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream")
                assert up.requests[0].headers["x-amz-security-token"] == "the-session-token"
                assert "x-amz-security-token" in up.requests[0].headers["authorization"]
                up.script = bedrock(lambda _: "another")
                got = await gateway.ask("Hi", model="tier:S", temperature=1)
                assert (got.status, gateway.last.attempts[0].reason) == (502, "http 403")
                assert b"the-session-token" not in got.body
                assert gateway.plane.fleet.views()["small"][0].health == "ejected"

    run_virtual(main)


def test_a_clock_that_is_wrong_is_said_to_be(tmp_path: Path) -> None:
    """AWS takes signatures of five minutes around its own time; the caller is told whose clock it is."""
    secrets(tmp_path)
    late = "Signature expired: 20261127T170000Z is now earlier than 20261127T171000Z (20261127T171500Z - 5 min.)"
    refusal = answer({"message": late}, 403, [("x-amzn-errortype", "InvalidSignatureException")])

    async def main() -> None:
        async with ScriptedUpstream(lambda _: refusal) as up:
            async with Gateway(tmp_path, up.url, None, by(KEYS)) as gateway:
                got = await gateway.ask("Hi", model="tier:S")
                assert gateway.last.attempts[0].reason == "clock skew"
                assert "this machine's clock is behind its own" in got.json["error"]["message"]

    run_virtual(main)


def sts(clock: Clock, lasts_s: int = 3600) -> Callable[[Seen], Iterable[Step]]:
    """STS: each time it is asked it gives other keys, good for so long."""

    def script(seen: Seen) -> Iterable[Step]:
        asked = parse_qs(seen.body.decode())
        assert (seen.method, seen.path, asked["Action"]) == ("POST", "/", ["AssumeRoleWithWebIdentity"])
        if asked["WebIdentityToken"] != ["the-pods-token"]:
            return [Head(403), Data(b"<Error><Code>InvalidIdentityToken</Code></Error>")]
        until = datetime.fromtimestamp(clock.wall_ns() // NS_PER_S + lasts_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        told = f"<AccessKeyId>ASIA{seen.nth}</AccessKeyId><SecretAccessKey>secret/{seen.nth}+</SecretAccessKey>"
        told += f"<SessionToken>session-{seen.nth}</SessionToken><Expiration>{until}</Expiration>"
        return [Head(200, (("content-type", "text/xml"),)), Data(f"<R><Credentials>{told}</Credentials></R>".encode())]

    return script


class Pod(NamedTuple):
    token: Path
    there: ScriptedUpstream
    up: ScriptedUpstream
    gateway: Gateway


def of_session(seen: Seen) -> str | None:
    """The secret that belongs to a session's token."""
    token = seen.headers.get("x-amz-security-token", "")
    return f"secret/{token.removeprefix('session-')}+" if token.startswith("session-") else None


@asynccontextmanager
async def pod(folder: Path) -> AsyncIterator[Pod]:
    """A gateway whose keys are of a role that STS gives for the token in a file."""
    token = folder / "token"
    token.write_text("the-pods-token\n")
    environ = {"AWS_ROLE_ARN": "arn:aws:iam::1:role/r", "AWS_WEB_IDENTITY_TOKEN_FILE": str(token)}
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    async with ScriptedUpstream(sts(loop.clock)) as there, ScriptedUpstream(bedrock(of_session)) as up:
        edit = by(f'by: web-identity, sts: "{there.url}", sts_private: true')
        async with Gateway(folder, up.url, None, edit, environ=environ) as gateway:
            yield Pod(token, there, up, gateway)


def test_a_pods_role_is_had_and_renewed_before_it_ends(tmp_path: Path) -> None:
    """STS gives keys for the token in the file. They are fetched before the first request and anew before they end, so
    that no request waits for them; if STS is away meanwhile they are used to their end, and then nothing is sent."""

    async def main() -> None:
        async with pod(tmp_path) as (token, there, up, gateway):

            async def sent() -> str:
                assert (await gateway.ask("Hi", model="tier:S", temperature=1)).status == 200
                return up.requests[-1].headers["x-amz-security-token"]

            await there.asked(1)
            assert parse_qs(there.requests[0].body.decode())["RoleArn"] == ["arn:aws:iam::1:role/r"]
            assert await sent() == await sent() == "session-0"
            await asyncio.sleep(3600 - 300 - 5)
            assert (await sent(), len(there.requests)) == ("session-0", 1)
            await asyncio.sleep(10)
            assert (await sent(), len(there.requests)) == ("session-1", 2)
            token.write_text("revoked\n")
            await asyncio.sleep(3600 - 20)
            assert await sent() == "session-1"
            tried = len(there.requests) - 2
            assert 3 < tried < 20, "each failure is followed by a longer pause"
            await asyncio.sleep(30)
            asked = len(up.requests)
            got = await gateway.ask("Hi", model="tier:S", temperature=1)
            assert (got.status, len(up.requests)) == (502, asked)
            assert gateway.last.attempts[0].reason == "no credential"
            token.write_text("the-pods-token\n")
            await asyncio.sleep(61)
            assert (await sent()).startswith("session-")

    run_virtual(main)


def test_ten_requests_before_the_keys_are_there_ask_once(tmp_path: Path) -> None:
    """They wait for the one fetch that is under way."""

    async def main() -> None:
        async with pod(tmp_path) as (_, there, _, gateway):
            asking = [gateway.ask(f"Hi {number}", model="tier:S", temperature=1) for number in range(10)]
            assert {got.status for got in await asyncio.gather(*asking)} == {200}
            assert len(there.requests) == 1

    run_virtual(main)


def _keys(nth: int) -> list[Step]:
    """As containers and machines are told them."""
    told = {"AccessKeyId": f"ASIA{nth}", "SecretAccessKey": f"secret/{nth}+", "Token": f"session-{nth}"}
    return answer({"Code": "Success", **told, "Expiration": "2999-01-01T00:00:00Z"})


def _container(seen: Seen) -> Iterable[Step]:
    assert (seen.method, seen.path) == ("GET", "/v1/credentials?x=1")
    return _keys(seen.nth) if seen.headers.get("authorization") == "the-pods-token" else answer({}, 403)


def _machine(seen: Seen) -> Iterable[Step]:
    """IMDSv2."""
    if seen.method == "PUT":
        assert seen.path == "/latest/api/token"
        assert int(seen.headers["x-aws-ec2-metadata-token-ttl-seconds"]) > 0
        return [Head(200, (("content-length", "3"),)), Raw(b"imd")]
    if seen.headers.get("x-aws-ec2-metadata-token") != "imd":
        return answer({}, 401)
    where = "/latest/meta-data/iam/security-credentials/"
    if seen.path == where:
        return [Head(200, (("content-length", "5"),)), Raw(b"role\n")]
    return _keys(seen.nth) if seen.path == where + "role" else answer({}, 404)


@pytest.mark.parametrize("way", ["container", "instance"])
def test_a_containers_and_a_machines_role(way: str, tmp_path: Path) -> None:
    """Asked where the environment says, with the container's token or in a session of the machine's."""
    (tmp_path / "token").write_text("the-pods-token\n")

    async def main() -> None:
        script = _container if way == "container" else _machine
        async with ScriptedUpstream(script) as there, ScriptedUpstream(bedrock(of_session)) as up:
            environ = {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{there.url}/v1/credentials?x=1",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "token"),
                "AWS_EC2_METADATA_SERVICE_ENDPOINT": there.url,
            }
            async with Gateway(tmp_path, up.url, None, by(f"by: {way}"), environ=environ) as gateway:
                assert (await gateway.ask("Hi", model="tier:S", temperature=1)).status == 200

    run_virtual(main)


def test_a_variable_says_no_other_place_than_awss(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where a token is sent is not for the environment to say: a host in our own networks gets nothing."""
    environ = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://10.0.0.7/creds",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "secret-token",
    }

    async def main() -> None:
        async with ScriptedUpstream(bedrock(of_session)) as up:
            async with Gateway(tmp_path, up.url, None, by("by: container"), environ=environ) as gateway:
                assert (await gateway.ask("Hi", model="tier:S")).status == 502
                assert gateway.last.attempts[0].reason == "no credential"
                assert up.requests == []

    with caplog.at_level(logging.WARNING):
        run_virtual(main)
    assert "10.0.0.7 is no place that AWS serves credentials at" in caplog.text
    assert "secret-token" not in caplog.text


PLACES = ["169.254.169.254", "169.254.170.2", "169.254.170.23"]


@pytest.mark.parametrize("host", PLACES)
def test_the_metadata_address_is_for_credentials_alone(host: str) -> None:
    """A model there is refused, whatever is declared. A credential's own origin may be connected to; no other place
    of that network may."""

    async def main() -> None:
        for origin in (Origin.parse(f"http://{host}", private=True), Origin("http", "169.254.1.1", 80, True, True)):
            with pytest.raises(ConnectFailed) as refused:
                await addresses(origin)
            assert refused.value.refused
        assert await addresses(Origin("http", host, 80, metadata=True)) == [host]

    asyncio.run(main())


def test_a_profile_of_awss_files(tmp_path: Path) -> None:
    """Keys by their name in the files, as the environment says where these are; a profile without keys is not used,
    and the program that would print some is not run."""
    folder = tmp_path / "aws"
    folder.mkdir()
    (folder / "credentials").write_text(f"[bedrock]\naws_access_key_id = AKID\naws_secret_access_key = {SECRET}\n")
    (folder / "config").write_text(f"[profile prints]\ncredential_process = touch {folder / 'ran'}\n")
    environ = {"AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"), "AWS_CONFIG_FILE": str(folder / "config")}

    async def main() -> None:
        async with ScriptedUpstream(bedrock(lambda _: SECRET)) as up:
            for profile, status in (("bedrock", 200), ("prints", 502)):
                edit = by(f"by: profile, profile: {profile}")
                async with Gateway(tmp_path / profile, up.url, None, edit, environ=environ) as gateway:
                    assert (await gateway.ask("Hi", model="tier:S", temperature=1)).status == status

    run_virtual(main)
    assert not (folder / "ran").exists()


def test_the_scheme_s_own_port_is_no_part_of_the_host() -> None:
    """AWS reckons with the host as its own clients send it; another port is part of it."""

    async def main() -> None:
        signer = SigV4(SystemClock(), REGION, _static, "a test's")
        for url, host in (("https://h.example", "h.example"), ("https://h.example:8443", "h.example:8443")):
            origin = Origin.parse(url)
            assert origin.authority == host
            headers: dict[str, Any] = dict(await signer.headers(origin, "/model/m/converse-stream", b"{}"))
            seen = Seen("POST", "/model/m/converse-stream", {**headers, "host": host}, b"{}", 0)
            assert is_signed(seen, SECRET, service="bedrock", region=REGION)
            assert not is_signed(Seen(*seen.__dict__.values()), SECRET, service="bedrock", region="us-east-1")
        signer.close()

    asyncio.run(main())


async def _static() -> Lasting[AwsKeys]:
    return Lasting(AwsKeys("AKID", SECRET), None)
