"""Which web pages may open a WebSocket here, by the rules that `trunkline.security` states."""

from __future__ import annotations

import ipaddress
import json
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from trunkline.exceptions import TrunklineError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping, Sequence

    from trunkline.types import ASGIApp, Receive, Scope, Send

__all__ = ["OriginMiddleware", "OriginPolicy", "OriginSettingError", "TrustedProxies", "origin_allowed"]

logger = logging.getLogger("trunkline.security")

SAME = "same"
ANY = "*"

_CHECKED = "trunkline.origin_checked"
_PROXIES = "trunkline.trusted_proxies"
_REFUSED = 1008

_DEFAULT_PORTS: Mapping[str, int] = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_ORIGIN = re.compile(r"([a-z][a-z0-9+.\-]*)://([^/?#@\\\s]+)", re.ASCII)
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._~!$&'()*+,;=%\-]+)(?::([0-9]{1,5}))?", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_\-]*[a-z0-9_])?", re.ASCII)


class OriginSettingError(TrunklineError, ValueError):
    """Raised when an application is made with `origins` or `trusted_proxies` that say nothing sensible."""


class Authority(NamedTuple):
    """A host and a port; None where the port is not written and has no default."""

    host: str
    port: int | None


class Origin(NamedTuple):
    """Scheme, host and port of a page (RFC 6454 section 4)."""

    scheme: str
    authority: Authority


def parse_authority(text: str, default_port: int | None) -> Authority | None:
    """The host and port of a Host header; None where it is malformed.

    Args:
        text: For example `example.com:8000` or `[::1]`.
        default_port: What stands for a port that is not written.
    """
    match = _AUTHORITY.fullmatch(text.lower())
    if match is None:
        return None
    host, port = match[1], int(match[2]) if match[2] else default_port
    if port is not None and port > 65535:
        return None
    if not host.startswith("["):
        return Authority(host, port)
    try:
        return Authority(f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]", port)
    except ValueError:
        return None


def parse_origin(text: str) -> Origin | None:
    """The parts of an Origin header; None for `null` and whatever else is not one origin.

    Args:
        text: For example `https://example.com`.
    """
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        return None
    authority = parse_authority(match[2], _DEFAULT_PORTS.get(match[1]))
    return None if authority is None else Origin(match[1], authority)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by name or address: `localhost`, 127.0.0.0/8, `[::1]`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_same(origin: Origin, host: str) -> bool:
    """Whether a page of `origin` is one of the server that was called as `host`, or both are loopback.

    Args:
        origin: Only `http` and `https` have pages of a server; others must be listed.
        host: A Host header.
    """
    default_port = _DEFAULT_PORTS.get(origin.scheme)
    called = None if default_port is None else parse_authority(host, default_port)
    if called is None:
        return False
    return called == origin.authority or (is_loopback(called.host) and is_loopback(origin.authority.host))


class Pattern(NamedTuple):
    """One origin that is allowed, or all subdomains of one."""

    origin: Origin
    subdomains: bool

    def matches(self, origin: Origin) -> bool:
        if not self.subdomains:
            return origin == self.origin
        (scheme, (host, port)), (wanted_scheme, (parent, wanted_port)) = origin, self.origin
        return (scheme, port) == (wanted_scheme, wanted_port) and host.endswith("." + parent)


def _bad_pattern(pattern: object, why: str) -> OriginSettingError:
    return OriginSettingError(
        f"an origin is expected, as a browser sends it: a scheme, a host and perhaps a port, for example "
        f'"https://example.com", "https://*.example.com" or "http://localhost:3000"; but got {pattern!r}: {why}'
    )


def parse_pattern(pattern: str) -> Pattern:
    """Read one entry of `origins`.

    Raises:
        OriginSettingError: It is not an origin; the text says what is wrong.
    """
    if not isinstance(pattern, str):
        raise _bad_pattern(pattern, "it is not a str")
    if pattern == "null":
        raise _bad_pattern(pattern, 'it names nobody (sandboxed frames and local files send it); use origins="*"')
    if not pattern.isascii():
        raise _bad_pattern(pattern, f"a browser sends the ASCII form of the name, {_punycode(pattern)}")
    if "://" not in pattern:
        raise _bad_pattern(pattern, "it has no scheme")
    subdomains = "://*." in pattern
    origin = parse_origin(pattern.replace("://*.", "://", 1))
    if origin is None:
        raise _bad_pattern(pattern, "what follows the scheme is more or less than a host and a port")
    host = origin.authority.host
    if "*" in host or (subdomains and host.startswith("[")):
        raise _bad_pattern(pattern, 'a "*" stands for subdomains only: right after "://", before a dot and a name')
    if not host.startswith("[") and not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise _bad_pattern(pattern, f"{host!r} is no host name")
    return Pattern(origin, subdomains)


def _punycode(pattern: str) -> str:
    scheme, _, host = pattern.partition("://")
    try:
        return repr(f"{scheme}://{host.encode('idna').decode()}")
    except UnicodeError:
        return "in punycode (xn--...)"


@dataclass(frozen=True, slots=True)
class OriginPolicy:
    """Which origins are allowed.

    Args:
        patterns: Origins, exact or with `*.` for all subdomains.
        same: Whether a server's own pages are, and loopback from loopback.
        everybody: Whether all are: nothing is checked.
    """

    patterns: tuple[Pattern, ...] = ()
    same: bool = True
    everybody: bool = False

    @classmethod
    def of(cls, origins: str | Sequence[str]) -> OriginPolicy:
        """Read the `origins` of an `App`.

        Args:
            origins: `"same"`, `"*"`, or a list of patterns, in which `"same"` may stand too.

        Raises:
            OriginSettingError: Something else; the text says what to write.
        """
        if isinstance(origins, str):
            if origins not in (SAME, ANY):
                raise OriginSettingError(
                    f'origins is "same", "*" or a list, but got {origins!r}; write origins=[{json.dumps(origins)}]'
                )
            origins = [origins]
        entries = list(origins)
        patterns = tuple(parse_pattern(entry) for entry in entries if entry not in (SAME, ANY))
        return cls(patterns, same=SAME in entries, everybody=ANY in entries)

    def allows(self, origin: str | None, hosts: Iterable[str]) -> bool:
        """Whether a page may connect.

        Args:
            origin: The Origin header, None if there is none.
            hosts: The names under which the server was called: the Host header, and what a trusted proxy said.
        """
        if origin is None or self.everybody:
            return True
        parsed = parse_origin(origin)
        if parsed is None:
            return False
        if any(pattern.matches(parsed) for pattern in self.patterns):
            return True
        return self.same and any(is_same(parsed, host) for host in hosts)


def origin_allowed(origin: str | None, hosts: Iterable[str], origins: str | Sequence[str] = SAME) -> bool:
    """Whether a page may open a WebSocket, by the rules at the top of `trunkline.security`.

    Args:
        origin: The Origin header, None if there is none.
        hosts: The Host header, and others under which the server is known to be called.
        origins: `"same"`, `"*"` or a list of patterns.

    Raises:
        OriginSettingError: `origins` is something else.
    """
    return OriginPolicy.of(origins).allows(origin, hosts)


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The proxies whose `X-Forwarded-Host` is believed.

    Args:
        networks: Their addresses.
        everybody: Whether any peer is one.
    """

    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    everybody: bool = False

    @classmethod
    def of(cls, proxies: Sequence[str]) -> TrustedProxies:
        """Read the `trusted_proxies` of an `App`.

        Args:
            proxies: Addresses and networks, for example `["10.0.0.0/8", "::1"]`; `"*"` trusts any peer.

        Raises:
            OriginSettingError: An entry is neither.
        """
        entries = [proxies] if isinstance(proxies, str) else list(proxies)
        try:
            networks = tuple(ipaddress.ip_network(entry) for entry in entries if entry != ANY)
        except (ValueError, TypeError) as error:
            raise OriginSettingError(
                f'trusted_proxies are addresses or networks, for example ["10.0.0.0/8", "::1"], or "*"; {error}'
            ) from None
        return cls(networks, ANY in entries)

    def trusts(self, scope: Scope) -> bool:
        """Whether the peer of this connection is a proxy to be believed."""
        if self.everybody:
            return True
        client = scope.get("client")
        if not client or not self.networks:
            return False
        # Port 0 is no real peer's: the server has put the client of X-Forwarded-For in the place of a proxy that it
        # trusts itself (uvicorn's --forwarded-allow-ips).
        if client[1] == 0:
            return True
        try:
            address = ipaddress.ip_address(client[0])
        except ValueError:
            return False
        # A socket that listens on IPv6 shows IPv4 peers as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2).
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self.networks)


_NOBODY = TrustedProxies()


def proxies_of(scope: Scope) -> TrustedProxies:
    """The proxies that the innermost application trusts of those around this connection that trust any."""
    proxies: TrustedProxies = scope.get(_PROXIES, _NOBODY)
    return proxies


class OriginMiddleware:
    """Refuses WebSockets from pages of other origins, before `accept` (HTTP 403 on the wire).

    Args:
        app: The application to wrap.
        origins: Who may connect; None leaves it to an application around this one, and is `"same"` where none has
            checked.
        trusted_proxies: Whose `X-Forwarded-Host` is believed.

    Raises:
        OriginSettingError: `origins` or `trusted_proxies` say nothing sensible.
    """

    def __init__(
        self, app: ASGIApp, origins: str | Sequence[str] | None = None, trusted_proxies: Sequence[str] = ()
    ) -> None:
        self.app = app
        self.told = origins is not None
        self.policy = OriginPolicy.of(SAME if origins is None else origins)
        self.proxies = TrustedProxies.of(trusted_proxies)
        # Most visitors come from the same page: what was last allowed is not worked out again.
        self._last_allowed: tuple[str, list[str]] | None = None
        self._listed = [SAME] if origins is None or isinstance(origins, str) else list(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.call(scope, receive, send)

    def call(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """As `__call__`, without a coroutine of its own for what only passes through."""
        if scope["type"] == "websocket":
            if self.proxies != _NOBODY:
                scope[_PROXIES] = self.proxies
            if (self.told or _CHECKED not in scope) and not self._allows(scope):
                return send({"type": "websocket.close", "code": _REFUSED, "reason": "origin not allowed"})
            scope[_CHECKED] = True
        return self.app(scope, receive, send)

    def _allows(self, scope: Scope) -> bool:
        origin = _header(scope, b"origin")
        if origin is None or self.policy.everybody:
            return True
        hosts = [_header(scope, b"host") or ""]
        if self.proxies.trusts(scope):
            # The first of several is what the client asked the outermost proxy for.
            hosts.append((_header(scope, b"x-forwarded-host") or "").split(",")[0].strip())
        if self._last_allowed == (origin, hosts):
            return True
        if self.policy.allows(origin, hosts):
            self._last_allowed = origin, hosts
            return True
        self._report(scope, origin, hosts)
        return False

    def _report(self, scope: Scope, origin: str, hosts: Sequence[str]) -> None:
        called = " or ".join(repr(host) for host in hosts)
        logger.warning(
            "refused a WebSocket to %r from a page of %r, called as %s; %s",
            scope.get("path", ""),
            origin,
            called,
            self._remedy(origin),
        )

    def _remedy(self, origin: str) -> str:
        try:
            parse_pattern(origin)
        except OriginSettingError:
            return 'that is no origin to be listed; App(origins="*") lets everybody in'
        return f"to allow it: App(origins={json.dumps([*self._listed, origin])})"


def _header(scope: Scope, name: bytes) -> str | None:
    """The value of a header; the empty string, which matches nothing, where there are several."""
    values = [value for key, value in scope.get("headers", ()) if key == name]
    if not values:
        return None
    return str(values[0], "latin-1") if len(values) == 1 else ""
