"""The command line as a client of its own gateway: where it serves, with which key, one chat request, whole or live."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from trimtab.core.clock import NS_PER_S, SystemClock
from trimtab.core.errors import TrimtabError
from trimtab.core.keys import hash_key
from trimtab.core.tenancy import Tenancy
from trimtab.surfaces.server.ask import NotRunningError, ask

KEY_VARIABLE = "TRIMTAB_API_KEY"
START_S = 300.0
"""How long a start may take: the first builds the indexes of every corpus."""
TIMEOUT_S = 600.0
_POLL_S = 0.1


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer, or an error: `body` decoded, None where it is no JSON."""

    status: int
    headers: dict[str, str]
    body: Any


def demo_key(tenancy: Tenancy, tenant: str) -> str | None:
    """`tt-demo-TENANT`, where the workspace accepts it."""
    key = f"tt-demo-{tenant}"
    return key if tenancy.demo and hash_key(key) in tenancy.keys else None


def key_for(tenancy: Tenancy, tenant: str, given: Mapping[str, str]) -> str:
    """The key to call as this tenant: given for it, the environment's, or the demo key. Raises TrimtabError."""
    key = given.get(tenant) or os.environ.get(KEY_VARIABLE) or demo_key(tenancy, tenant)
    if key is None:
        raise TrimtabError(f"no key for tenant {tenant}: give one by --key {tenant}=KEY, or by {KEY_VARIABLE}")
    return key


@contextmanager
def gateway(workspace: Path, say: Callable[[str], None] = lambda _: None) -> Iterator[str]:
    """The address of the gateway that serves `workspace`; without one, it is started (`say` hears of it), and stopped
    at the end."""
    url = _serving(workspace)
    if url is not None:
        yield url
        return
    say(f"No gateway serves {workspace}: starting one for as long as this takes.")
    program = "from trimtab.cli import main; main()"
    command = [sys.executable, "-c", program, "serve", "--workspace", str(workspace), "--port", "0"]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)  # noqa: S603 - fixed words, no shell
        try:
            yield _started(process, workspace, said)
        finally:
            process.terminate()
            process.wait()


def settled(workspace: Path) -> None:
    """Have the gateway load the folder as it is now, which it does by itself only a moment after a change; then wait
    until every index that a channel needs is ready. Raises TrimtabError for a broken workspace, and after START_S."""
    ask(workspace, "POST", "/reload")
    _eventually(lambda: None if ask(workspace, "GET", "/state")["building"] else True, "indexes are still being built")


def chat(url: str, key: str, body: dict[str, Any], headers: Mapping[str, str]) -> Reply:
    """One request, answered whole. Raises TrimtabError where the gateway can't be reached."""
    with _asked(url, key, body, headers) as answer:
        data = answer.read()
    try:
        decoded = msgspec.json.decode(data)
    except msgspec.DecodeError:
        decoded = None
    return Reply(status=answer.status, headers={k.lower(): v for k, v in answer.getheaders()}, body=decoded)


def events(url: str, key: str, body: dict[str, Any], headers: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The events of a streamed answer as they come; an error answer is one event with `error`."""
    with _asked(url, key, {**body, "stream": True, "stream_options": {"include_usage": True}}, headers) as answer:
        if answer.status >= 300:
            yield msgspec.json.decode(answer.read())
            return
        for line in answer:
            if line.startswith(b"data: ") and line != b"data: [DONE]\n":
                yield msgspec.json.decode(line[6:])


@contextmanager
def _asked(url: str, key: str, body: dict[str, Any], headers: Mapping[str, str]) -> Iterator[http.client.HTTPResponse]:
    at = urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname or "127.0.0.1", at.port, timeout=TIMEOUT_S)
    sent = {"authorization": f"Bearer {key}", "content-type": "application/json", **headers}
    try:
        connection.request("POST", "/v1/chat/completions", msgspec.json.encode(body), sent)
        yield connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise TrimtabError(f"the gateway at {url} does not answer: {error}") from error
    finally:
        connection.close()


def _serving(workspace: Path) -> str | None:
    try:
        return ask(workspace, "GET", "/state")["url"]  # type: ignore[no-any-return]  # an address, or null
    except NotRunningError:
        return None


def _started(process: subprocess.Popen[bytes], workspace: Path, said: IO[str]) -> str:
    def address() -> str | None:
        if process.poll() is not None:
            said.seek(0)
            raise TrimtabError(f"the gateway could not be started:\n{said.read()}")
        return _serving(workspace)

    return _eventually(address, "the gateway is not ready")


T = TypeVar("T")


def _eventually(look: Callable[[], T | None], message: str) -> T:
    clock = SystemClock()
    until = clock.now_ns() + START_S * NS_PER_S
    while (found := look()) is None:
        if clock.now_ns() > until:
            raise TrimtabError(f"{message} after {START_S:.0f} s")
        threading.Event().wait(_POLL_S)
    return found


__all__ = ["KEY_VARIABLE", "Reply", "chat", "demo_key", "events", "gateway", "key_for", "settled"]
