"""Egress: which addresses we connect to. A name is resolved once, its addresses are checked, and one of those that were
checked is connected to, so that a name which answers otherwise the second time gains nothing (DNS rebinding).

However an address is written (decimal, octal, IPv4 in IPv6, a name, a trailing dot): what is checked is what the
resolver made of it, since that is what would be connected to.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address

from trimtab.dataplane.inference.dialer import ConnectFailed, Origin
from trimtab.foundations.addresses import refusal


async def addresses(origin: Origin) -> list[str]:
    """Where the origin's name leads, in the resolver's order, checked. Raises ConnectFailed if that is nowhere, or if
    any of it is not to be connected to: a name with a private address among public ones is no accident."""
    if _is_literal(origin.host):
        hosts = [origin.host]
    else:
        hosts = await _resolved(origin)
    for host in hosts:
        why = refusal(host, private=origin.private, metadata=origin.metadata)
        if why is not None:
            raise ConnectFailed(f"{origin.netloc}: {why}", refused=True)
    return hosts


def _is_literal(host: str) -> bool:
    """An address as it is always written; every other way to write one is the resolver's to read."""
    try:
        return str(ip_address(host)) == host
    except ValueError:
        return False


async def _resolved(origin: Origin) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConnectFailed(f"{origin.netloc}: {error}") from error
    return list(dict.fromkeys(str(row[4][0]) for row in found))
