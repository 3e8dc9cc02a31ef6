"""Whose connection it is, by address.

Behind a proxy the peer is the proxy. What `X-Forwarded-For` says is believed only of trusted proxies, and only as far
as they go: each proxy adds at the end whom it was called by, and what stands before the first that is not trusted may
have been made up by the client.

An IPv6 address counts by its first 64 bits, because that is what one site gets (RFC 6177), and a client of it takes
another address whenever it likes.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trunkline.security import TrustedProxies
    from trunkline.types import Scope

__all__ = ["client_network"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def client_network(scope: Scope, proxies: TrustedProxies) -> str | None:
    """The address of a client, or of its network; None where the server does not tell.

    Args:
        scope: Of its connection.
        proxies: Who may speak for others.
    """
    host, port = scope.get("client") or (None, None)
    # Port 0 is no real peer's: the server has put the client of X-Forwarded-For in its place.
    if port != 0 and proxies.trusts(scope):
        forwarded = _forwarded(scope, proxies)
        if forwarded is not None:
            return _network(forwarded)
    if not host:
        return None
    address = _parsed(host)
    return str(host) if address is None else _network(address)


def _forwarded(scope: Scope, proxies: TrustedProxies) -> Address | None:
    lines = [value.decode("latin-1") for name, value in scope.get("headers", ()) if name == b"x-forwarded-for"]
    found = None
    for text in reversed(",".join(lines).split(",")):
        address = _parsed(text)
        if address is None:
            break
        found = address
        # Where everybody is trusted, nobody knows how many proxies there are: the nearest one is believed.
        if proxies.everybody or not any(address in network for network in proxies.networks):
            break
    return found


def _parsed(text: str) -> Address | None:
    """An address as it stands in `X-Forwarded-For`, some write the port behind it."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A socket that listens on IPv6 shows IPv4 peers as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2).
    return getattr(address, "ipv4_mapped", None) or address


def _network(address: Address) -> str:
    if address.version == 4:
        return str(address)
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"
