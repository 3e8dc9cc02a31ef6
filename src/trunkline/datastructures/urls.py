"""URLs, from a text, an ASGI scope or their components, and the authority that a Host header may name."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from string import printable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from trunkline.datastructures.multidict import MultiDict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline.types import Scope

__all__ = ["URL", "Host", "URLPath", "parse_host"]


class Host(NamedTuple):
    """A valid Host header, split: the host (an IP literal with its brackets) and the digits of the port, or None."""

    name: str
    port: str | None

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL."""
        return self.name if self.port is None else f"{self.name}:{self.port}"

    @property
    def has_valid_port(self) -> bool:
        """Whether there is no port, or one that TCP can have (leading zeros are allowed)."""
        digits = (self.port or "").lstrip("0")
        return len(digits) <= 5 and int(digits or "0") <= 0xFFFF


# RFC 3986 section 3.2.2: a registered name of unreserved, percent and sub-delim characters, or a bracketed literal of
# IPv6 or of a future version. Nothing in it can end the authority of a URL, which is what makes it safe to put there.
_HOST = re.compile(
    r"""(?P<name> [\w.~%!$&'()*+,;=-]+
                | \[ (?P<ipv6>[0-9A-Fa-f]*:[0-9A-Fa-f.:]+) \]
                | \[ v[0-9A-Fa-f]+\.[\w.~!$&'()*+,;=:-]+ \] )
        (?: : (?P<port>[0-9]+) )?""",
    re.VERBOSE | re.ASCII,
)


def parse_host(header: str | None) -> Host | None:
    """Split a Host header; None where it is missing or not a host (RFC 3986 section 3.2.2).

    Args:
        header: The value of the header, as it came.
    """
    match = _HOST.fullmatch(header or "")
    if match is None or (match["ipv6"] is not None and not _is_ipv6(match["ipv6"])):
        return None
    return Host(match["name"], match["port"])


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def _authority(scope: Scope, scheme: str) -> str | None:
    """Who the client asked for: the Host header if it is valid, else the server's own address, if it has one."""
    header = next((value for name, value in scope.get("headers", ()) if name == b"host"), None)
    if header is not None:
        host = parse_host(header.decode("latin-1"))
        if host is not None and host.has_valid_port:
            return host.authority
    name, port = scope.get("server") or (None, None)
    # ASGI: the port is None for a Unix socket, whose path is no part of a URL.
    if name is None or port is None:
        return None
    if ":" in name and not name.startswith("["):
        name = f"[{name}]"
    return name if port == _DEFAULT_PORTS.get(scheme) else f"{name}:{port}"


def _query(query_string: bytes) -> str:
    try:
        return query_string.decode()
    except UnicodeDecodeError:
        return quote(query_string, safe=printable)


def _escape_leading_slashes(path: str) -> str:
    """Keep `//name` a path where no host stands before it: it would read as an authority (RFC 3986 section 4.2)."""
    return f"/%2F{path[2:]}" if path.startswith("//") else path


def _url_of(scope: Scope) -> str:
    path = scope["path"].replace("?", "%3F").replace("#", "%23").replace("\\", "%5C")
    query = _query(scope.get("query_string", b""))
    scheme = scope.get("scheme", "http")
    authority = _authority(scope, scheme)
    if authority is None:
        path = _escape_leading_slashes(path)
    else:
        slash = "/" if path and not path.startswith("/") else ""
        path = f"{scheme}://{authority}{slash}{path}"
    return f"{path}?{query}" if query else path


class URL:
    """A URL that does not change; the methods give new ones. Equal to another, and to a string, by its text.

        URL("wss://example.org/live?room=1").replace(scheme="https").include_query_params(page=2)

    Args:
        url: The text.
        scope: An ASGI scope to take it from. A Host header that is not valid is ignored in favour of the server's
            address, and without both the URL is the path alone.
        components: `scheme`, `netloc` or `username`, `password`, `hostname`, `port`; `path`, `query`, `fragment`.

    Raises:
        TypeError: More than one of the three is given.
    """

    __slots__ = ("_components", "_url")

    def __init__(self, url: str = "", scope: Scope | None = None, **components: Any) -> None:
        if (url != "") + (scope is not None) + bool(components) > 1:
            raise TypeError("URL() takes one of a text, a scope and components, but got more; leave the others out")
        self._components: SplitResult | None = None
        if scope is not None:
            url = _url_of(scope)
        elif components:
            url = URL().replace(**components).components.geturl()
        self._url = url

    @property
    def components(self) -> SplitResult:
        """The five parts of the URL, as `urllib.parse.urlsplit` gives them."""
        if self._components is None:
            self._components = urlsplit(self._url)
        return self._components

    @property
    def scheme(self) -> str:
        """`http`, `https`, `ws`, `wss` or another, in lower case; empty for a path alone."""
        return self.components.scheme

    @property
    def netloc(self) -> str:
        """The authority: user, host and port as they are written."""
        return self.components.netloc

    @property
    def path(self) -> str:
        """The path, percent-encoded as it is written."""
        return self.components.path

    @property
    def query(self) -> str:
        """What stands behind the question mark."""
        return self.components.query

    @property
    def fragment(self) -> str:
        """What stands behind the hash."""
        return self.components.fragment

    @property
    def username(self) -> str | None:
        """The user of the authority."""
        return self.components.username

    @property
    def password(self) -> str | None:
        """The password of the authority."""
        return self.components.password

    @property
    def hostname(self) -> str | None:
        """The host in lower case, an IPv6 address without its brackets."""
        return self.components.hostname

    @property
    def port(self) -> int | None:
        """The port, where it is written."""
        return self.components.port

    @property
    def is_secure(self) -> bool:
        """Whether the scheme is `https` or `wss`."""
        return self.scheme in ("https", "wss")

    def replace(self, **components: Any) -> URL:
        """This URL with other components.

        Args:
            components: As for the constructor; None removes `port`, `username` and `password`.
        """
        if not components.keys().isdisjoint(("username", "password", "hostname", "port")):
            components["netloc"] = self._netloc_with(components)
        return type(self)(self.components._replace(**components).geturl())

    def _netloc_with(self, components: dict[str, Any]) -> str:
        """The authority with those of its four parts that are in `components`, which are taken out of it."""
        host = components.pop("hostname", None)
        port = components.pop("port", self.port)
        username = components.pop("username", self.username)
        password = components.pop("password", self.password)
        if host is None:
            host = self.netloc.rpartition("@")[2]
            host = host if host.endswith("]") else host.rsplit(":", 1)[0]
        elif _is_ipv6(host):
            host = f"[{host}]"
        user = "" if username is None else username if password is None else f"{username}:{password}"
        return f"{user}{'' if username is None else '@'}{host}{'' if port is None else f':{port}'}"

    def include_query_params(self, **params: Any) -> URL:
        """This URL with these query parameters beside its own; one of the same name is replaced."""
        query = MultiDict(parse_qsl(self.query, keep_blank_values=True))
        query.update({name: str(value) for name, value in params.items()})
        return self.replace(query=urlencode(query.multi_items()))

    def replace_query_params(self, **params: Any) -> URL:
        """This URL with these query parameters and no others."""
        return self.replace(query=urlencode([(name, str(value)) for name, value in params.items()]))

    def remove_query_params(self, keys: str | Sequence[str]) -> URL:
        """This URL without the query parameters of this name, or these names."""
        names = {keys} if isinstance(keys, str) else set(keys)
        query = [item for item in parse_qsl(self.query, keep_blank_values=True) if item[0] not in names]
        return self.replace(query=urlencode(query))

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other)

    def __str__(self) -> str:
        return self._url

    def __repr__(self) -> str:
        shown = self.replace(password="********") if self.password else self
        return f"{type(self).__name__}({str(shown)!r})"


_SCHEMES = {
    ("http", False): "http",
    ("http", True): "https",
    ("websocket", False): "ws",
    ("websocket", True): "wss",
}


class URLPath(str):
    """The path of a route, with the protocol and the host that go with it; what `url_path_for` gives.

    Args:
        path: The path; what a browser would read as the beginning of an authority is escaped.
        protocol: `"http"`, `"websocket"`, or empty for the one of the base URL.
        host: The authority, or empty for the one of the base URL.

    Raises:
        ValueError: `protocol` is another word.
    """

    protocol: Literal["http", "websocket", ""]
    host: str

    def __new__(cls, path: str, protocol: Literal["http", "websocket", ""] = "", host: str = "") -> URLPath:
        if protocol not in ("http", "websocket", ""):
            raise ValueError(f'protocol must be "http", "websocket" or "", but got {protocol!r}')
        self = super().__new__(cls, _escape_leading_slashes(path.replace("\\", "%5C")))
        self.protocol = protocol
        self.host = host
        return self

    def make_absolute_url(self, base_url: str | URL) -> URL:
        """This path below `base_url`, secure if that is.

        Args:
            base_url: Where the application is; its query and fragment are left out.
        """
        base = URL(base_url) if isinstance(base_url, str) else base_url
        scheme = _SCHEMES[self.protocol, base.is_secure] if self.protocol else base.scheme
        return URL(scheme=scheme, netloc=self.host or base.netloc, path=base.path.rstrip("/") + self)
