"""Addresses: which of them nothing is ever sent to, and which only where that is declared."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address

_NEVER = ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "100.100.100.200/32", "192.0.0.192/32")
_METADATA = tuple(ip_network(text) for text in _NEVER)
"""Link-local, and where clouds serve credentials outside of it (AWS over IPv6, Alibaba, Oracle): never, whatever is
declared."""
SERVES_CREDENTIALS = frozenset({"169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23"})
"""Of these, where AWS serves those of a machine's or a container's role."""
_NAT64 = ip_network("64:ff9b::/96")
_V4_COMPATIBLE = ip_network("::/96")


def refusal(address: str, *, private: bool, metadata: bool = False) -> str | None:
    """Why this address is not connected to; None: it may be. `private`: the model is declared to be on our own
    networks; `metadata`: our own credentials are declared to come from there. Raises ValueError for a text that is no
    address."""
    if metadata and address in SERVES_CREDENTIALS:
        return None
    for one in _meant(ip_address(address.partition("%")[0])):
        if any(one.version == net.version and one in net for net in _METADATA):
            return f"{address} is link-local or serves a cloud's credentials"
        if one.is_multicast or one.is_unspecified:
            return f"{address} is no address of one machine"
        if not one.is_global and not private:
            return f"{address} is on a private network. Write private: true at the model if that is meant"
    return None


def _meant(address: Address) -> list[Address]:
    """The address, and the IPv4 one that it carries (mapped, compatible, 6to4, NAT64: RFC 4291, 3056, 6052). An IPv6
    one that carries one is judged by that alone."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address.sixtofour is not None:
        return [address, address.sixtofour]
    if address in _NAT64 or (address in _V4_COMPATIBLE and int(address) > 1):
        return [IPv4Address(int(address) & 0xFFFFFFFF)]
    return [address]


def host_port(address: str) -> tuple[str, int]:
    """Of `tcp://HOST:PORT`; ValueError for anything else."""
    parts = urlsplit(address)
    if parts.scheme != "tcp" or address[len("tcp://") :] != parts.netloc or not parts.hostname or not parts.port:
        raise ValueError(f"is tcp://HOST:PORT, not {address!r}")
    if "@" in parts.netloc or "*" in parts.netloc:
        raise ValueError(f"is the address of one server, not {address!r}")
    return parts.hostname, parts.port
