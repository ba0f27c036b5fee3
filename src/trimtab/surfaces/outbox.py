"""Notices on their way to receivers: in order, tried again, never piling up.

Each receiver has a line of its own, so that one which hangs holds up nobody else, and in it one place for each group: a
newer notice of a group takes the place of one that has not left yet. So it is bounded by the channels there are.
"""

from __future__ import annotations

import asyncio
import logging
import smtplib
import socket
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from trimtab.controlplane.slo.notices import Notice, wants
from trimtab.controlplane.slo.notify import PAGERDUTY_URL, email, pagerduty, slack, webhook
from trimtab.core.clock import Clock
from trimtab.core.objectives import Receiver
from trimtab.dataplane.inference.dialer import ConnectFailed, Dialer, Origin, UpstreamError
from trimtab.dataplane.inference.egress import addresses
from trimtab.foundations.config import SecretError, is_reference, resolve_secret

PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Between attempts; then the notice is given up, and said so in the log."""
SEND_S: Final = 10.0
_MOST_BYTES: Final = 65_536
_SMTP_PORTS: Final = {"smtp": 587, "smtps": 465}

_log = logging.getLogger(__name__)


class _FailedError(Exception):
    """Not delivered. `again`: another attempt may do better."""

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again


class Outbox:
    """`put` never blocks; `drain` waits until all has left or was given up. One event loop."""

    def __init__(
        self,
        receivers: dict[str, Receiver],
        folder: Path,
        dialer: Dialer,
        clock: Clock,
        pauses_s: tuple[float, ...] = PAUSES_S,
    ) -> None:
        self._receivers, self._folder, self._dialer, self._clock = receivers, folder, dialer, clock
        self._pauses_s = pauses_s
        self._waiting: dict[str, dict[str, Notice]] = {name: {} for name in receivers}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.delivered = self.given_up = 0

    def __repr__(self) -> str:
        waiting = sum(map(len, self._waiting.values()))
        return f"<Outbox {waiting} waiting, {self.delivered} delivered, {self.given_up} given up>"

    def put(self, notice: Notice) -> None:
        """For every receiver that wants it."""
        for name, receiver in self._receivers.items():
            if wants(receiver, notice):
                self._waiting[name][notice.key] = notice
                if name not in self._tasks:
                    self._tasks[name] = asyncio.get_running_loop().create_task(self._work(name))

    async def drain(self) -> None:
        while self._tasks:
            await asyncio.gather(*self._tasks.values())

    async def close(self) -> None:
        """Give up what has not left."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, name: str) -> None:
        waiting = self._waiting[name]
        try:
            while waiting:
                key = next(iter(waiting))
                await self._deliver(name, waiting.pop(key))
        finally:
            self._tasks.pop(name, None)

    async def _deliver(self, name: str, notice: Notice) -> None:
        """A visible loop: try, wait, try again; a newer notice of the group ends it."""
        for pause_s in (*self._pauses_s, None):
            try:
                async with asyncio.timeout(SEND_S):
                    await self._send(self._receivers[name], notice)
            except (_FailedError, TimeoutError) as error:
                why = str(error) or f"no answer in {SEND_S:g} s"
                if pause_s is None or (isinstance(error, _FailedError) and not error.again):
                    self.given_up += 1
                    _log.error("%s was not told of %s: %s", name, notice.headline, why)
                    return
                _log.warning("%s could not be told of %s, trying again in %g s: %s", name, notice.key, pause_s, why)
                await asyncio.sleep(pause_s)
                if notice.key in self._waiting[name]:
                    return
            else:
                self.delivered += 1
                return

    async def _send(self, receiver: Receiver, notice: Notice) -> None:
        try:
            url = self._secret(receiver.url) or PAGERDUTY_URL
            key = self._secret(receiver.key)
        except SecretError as error:
            raise _FailedError(str(error), again=False) from None
        if receiver.kind == "email":
            await self._mail(receiver, url, key, notice)
            return
        headers = [("content-type", "application/json")]
        if receiver.kind == "slack":
            body = slack(notice)
        elif receiver.kind == "pagerduty":
            body = pagerduty(notice, key or "")
        else:
            body = webhook(notice)
            headers += [("authorization", f"Bearer {key}")] if key is not None else []
        await self._post(url, headers, body, private=receiver.private)

    def _secret(self, told: str | None) -> str | None:
        return told if told is None or not is_reference(told) else resolve_secret(told, self._folder).reveal()

    async def _post(self, url: str, headers: list[tuple[str, str]], body: bytes, *, private: bool) -> None:
        """Never shows the address, which is a secret of its own."""
        try:
            parts = urlsplit(url)
            origin = Origin.parse(url, private=private)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            with await self._dialer.send(origin, "POST", target, headers, body) as answer:
                await answer.read_all(_MOST_BYTES)
                status = answer.status
        except ConnectFailed as error:
            raise _FailedError(str(error), again=not error.refused) from None
        except UpstreamError as error:
            raise _FailedError(str(error), again=True) from None
        except ValueError:
            raise _FailedError("its url is none that can be sent to", again=False) from None
        if not 200 <= status < 300:
            raise _FailedError(f"answered {status}", again=status in (408, 429) or status >= 500)

    async def _mail(self, receiver: Receiver, url: str, key: str | None, notice: Notice) -> None:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _SMTP_PORTS.get(parts.scheme, 25)
        message = email(notice, receiver.sender or "", receiver.to)
        try:
            (address, *_) = await addresses(Origin("smtp", host, port, receiver.private))
            login = (receiver.user, key) if receiver.user is not None and key is not None else None
            connect = _smtps if parts.scheme == "smtps" else _smtp
            await self._clock.offload(connect, host, address, port, message.as_bytes(), receiver, login)
        except ConnectFailed as error:
            raise _FailedError(str(error), again=not error.refused) from None
        except smtplib.SMTPResponseException as error:
            raise _FailedError(f"answered {error.smtp_code}", again=400 <= error.smtp_code < 500) from None
        except (smtplib.SMTPException, OSError) as error:
            raise _FailedError(str(error), again=True) from None


class _Smtp(smtplib.SMTP):
    """Connects to the address that was checked, and no other; certificates are the name's."""

    def __init__(self, host: str, address: str, port: int) -> None:
        self._address = address
        super().__init__(host, port, timeout=SEND_S)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return socket.create_connection((self._address, port), timeout)


class _Smtps(smtplib.SMTP_SSL):
    """The same, encrypted from the first byte."""

    def __init__(self, host: str, address: str, port: int) -> None:
        self._address = address
        super().__init__(host, port, timeout=SEND_S, context=ssl.create_default_context())

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = socket.create_connection((self._address, port), timeout)
        return ssl.create_default_context().wrap_socket(plain, server_hostname=host)


def _smtp(
    host: str, address: str, port: int, message: bytes, receiver: Receiver, login: tuple[str, str] | None
) -> None:
    """Encrypted where the server can; a password is never sent where it can't."""
    with _Smtp(host, address, port) as server:
        server.ehlo()
        if server.has_extn("starttls"):
            server.starttls(context=ssl.create_default_context())
        elif login is not None:
            raise smtplib.SMTPNotSupportedError("the server takes no STARTTLS, so it gets no password")
        _hand_over(server, message, receiver, login)


def _smtps(
    host: str, address: str, port: int, message: bytes, receiver: Receiver, login: tuple[str, str] | None
) -> None:
    with _Smtps(host, address, port) as server:
        _hand_over(server, message, receiver, login)


def _hand_over(server: smtplib.SMTP, message: bytes, receiver: Receiver, login: tuple[str, str] | None) -> None:
    if login is not None:
        server.login(*login)
    server.sendmail(receiver.sender or "", receiver.to, message)
