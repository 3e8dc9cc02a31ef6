"""The values that a connection is described with: URLs, headers, query parameters, state.

All are built from an ASGI scope or by hand, and none does any I/O. `Headers`, `QueryParams` and `ImmutableMultiDict`
cannot be changed; `MutableHeaders` and `MultiDict` can.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from ipaddress import IPv6Address
from string import printable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import ItemsView, KeysView, ValuesView

    from trunkline.types import Scope

__all__ = [
    "URL",
    "Address",
    "Headers",
    "Host",
    "ImmutableMultiDict",
    "MultiDict",
    "MutableHeaders",
    "QueryParams",
    "State",
    "URLPath",
    "check_headers",
    "parse_host",
]

KeyT = TypeVar("KeyT")
ValueT_co = TypeVar("ValueT_co", covariant=True)
RawHeaders = list[tuple[bytes, bytes]]


class Address(NamedTuple):
    """Where a peer connects from: a host name or IP address, and a port."""

    host: str
    port: int


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


class ImmutableMultiDict(Mapping[KeyT, ValueT_co]):
    """A mapping in which a key may have several values: indexing gives the last, `getlist` gives all.

    Equal to another when each key has the same values in the same order.

    Args:
        items: Another such mapping, any mapping, or pairs.
        more: Further pairs, behind those.
    """

    def __init__(
        self,
        items: ImmutableMultiDict[KeyT, ValueT_co] | Mapping[KeyT, ValueT_co] | Iterable[tuple[KeyT, ValueT_co]] = (),
        /,
        **more: Any,
    ) -> None:
        self._list: list[tuple[Any, Any]] = [*_pairs(items), *more.items()]
        self._dict: dict[Any, Any] = dict(self._list)

    def getlist(self, key: Any) -> list[ValueT_co]:
        """All values of `key`, in order; an empty list if there is none."""
        return [value for name, value in self._list if name == key]

    def keys(self) -> KeysView[KeyT]:
        """The keys, each once."""
        return self._dict.keys()

    def values(self) -> ValuesView[ValueT_co]:
        """The last value of each key."""
        return self._dict.values()

    def items(self) -> ItemsView[KeyT, ValueT_co]:
        """Each key with its last value."""
        return self._dict.items()

    def multi_items(self) -> list[tuple[KeyT, ValueT_co]]:
        """All pairs, in order."""
        return list(self._list)

    def __getitem__(self, key: KeyT) -> ValueT_co:
        value: ValueT_co = self._dict[key]
        return value

    def __contains__(self, key: object) -> bool:
        return key in self._dict

    def __iter__(self) -> Iterator[KeyT]:
        return iter(self._dict)

    def __len__(self) -> int:
        return len(self._dict)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and _grouped(self._list) == _grouped(other._list)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._list!r})"


def _pairs(items: Any) -> Iterable[tuple[Any, Any]]:
    for method in ("multi_items", "items"):
        if hasattr(items, method):
            pairs: Iterable[tuple[Any, Any]] = getattr(items, method)()
            return pairs
    return items or ()


def _grouped(pairs: list[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


class MultiDict(ImmutableMultiDict[Any, Any]):
    """An `ImmutableMultiDict` that can be changed."""

    def __setitem__(self, key: Any, value: Any) -> None:
        self.setlist(key, [value])

    def __delitem__(self, key: Any) -> None:
        del self._dict[key]
        self._forget({key})

    def _forget(self, keys: Iterable[Any]) -> None:
        self._list = [item for item in self._list if item[0] not in keys]

    def pop(self, key: Any, default: Any = None) -> Any:
        """Take `key` out; gives its last value, or `default`."""
        self._forget({key})
        return self._dict.pop(key, default)

    def popitem(self) -> tuple[Any, Any]:
        """Take the last key out; gives it with its last value."""
        key, value = self._dict.popitem()
        self._forget({key})
        return key, value

    def poplist(self, key: Any) -> list[Any]:
        """Take `key` out; gives all its values."""
        values = self.getlist(key)
        self.pop(key)
        return values

    def clear(self) -> None:
        """Take everything out."""
        self._dict.clear()
        self._list.clear()

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """The last value of `key`, which becomes `default` if there is none."""
        if key not in self._dict:
            self.append(key, default)
        return self._dict[key]

    def setlist(self, key: Any, values: list[Any]) -> None:
        """Give `key` these values, behind all others; none takes it out."""
        self._forget({key})
        self._list += [(key, value) for value in values]
        if values:
            self._dict[key] = values[-1]
        else:
            self._dict.pop(key, None)

    def append(self, key: Any, value: Any) -> None:
        """Give `key` one more value."""
        self._list.append((key, value))
        self._dict[key] = value

    def update(
        self, items: ImmutableMultiDict[Any, Any] | Mapping[Any, Any] | Iterable[tuple[Any, Any]] = (), /, **more: Any
    ) -> None:
        """Replace the values of these keys by these."""
        other = MultiDict(items, **more)
        self._forget(other.keys())
        self._list += other._list
        self._dict.update(other._dict)


class QueryParams(ImmutableMultiDict[str, str]):
    """The parameters of a query string; blank values are kept, bytes that are not UTF-8 become U+FFFD.

    Args:
        items: The query string, or what an `ImmutableMultiDict` takes; keys and values become strings.
        more: Further parameters, behind those.
    """

    def __init__(
        self,
        items: ImmutableMultiDict[Any, Any] | Mapping[Any, Any] | Iterable[tuple[Any, Any]] | str | bytes = (),
        /,
        **more: Any,
    ) -> None:
        if isinstance(items, bytes):
            items = items.decode("latin-1")
        if isinstance(items, str):
            items = parse_qsl(items, keep_blank_values=True)
        super().__init__([(str(key), str(value)) for key, value in (*_pairs(items), *more.items())])

    def __str__(self) -> str:
        return urlencode(self._list)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


_ENDS_A_HEADER = re.compile(rb"[\r\n\0]")


def check_headers(raw: Iterable[tuple[bytes, bytes]]) -> None:
    """Refuse headers that would begin another header, or the body (RFC 9110 section 5.5).

    Args:
        raw: Pairs of name and value.

    Raises:
        ValueError: A name or value contains a carriage return, a line feed or a NUL.
    """
    for name, value in raw:
        if _ENDS_A_HEADER.search(name) or _ENDS_A_HEADER.search(value):
            raise ValueError(
                f"a header must not contain CR, LF or NUL, but got {name!r}: {value!r}; "
                "remove them, or encode the value, for example with urllib.parse.quote"
            )


class Headers(Mapping[str, str]):
    """Headers as they came: several may have one name, and names are compared without regard to case.

    Indexing gives the first of a name, `getlist` all; `keys`, `values` and `items` have every header, in order.

    Args:
        headers: Names and values.
        raw: Pairs of bytes, with names in lower case; the list itself is used.
        scope: An ASGI scope, whose headers become a list.

    Raises:
        TypeError: More than one of the three is given.
    """

    def __init__(
        self,
        headers: Mapping[str, str] | None = None,
        raw: RawHeaders | None = None,
        scope: MutableMapping[str, Any] | None = None,
    ) -> None:
        if (headers is not None) + (raw is not None) + (scope is not None) > 1:
            raise TypeError(
                f"{type(self).__name__}() takes one of headers, raw and scope, but got more; leave the others out"
            )
        self._list: RawHeaders = []
        if scope is not None:
            # ASGI allows any iterable; what is changed through MutableHeaders must show in the scope, and only there.
            self._list = scope["headers"] = list(scope.get("headers", ()))
        elif raw is not None:
            self._list = raw
        elif headers is not None:
            self._list = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]

    @property
    def raw(self) -> RawHeaders:
        """The headers as pairs of bytes, in order."""
        return list(self._list)

    def keys(self) -> list[str]:  # type: ignore[override]
        """The names, one for each header."""
        return [name.decode("latin-1") for name, _ in self._list]

    def values(self) -> list[str]:  # type: ignore[override]
        """The values, one for each header."""
        return [value.decode("latin-1") for _, value in self._list]

    def items(self) -> list[tuple[str, str]]:  # type: ignore[override]
        """Each header with its value."""
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._list]

    def getlist(self, key: str) -> list[str]:
        """All values of the headers of this name, in order."""
        wanted = key.lower().encode("latin-1")
        return [value.decode("latin-1") for name, value in self._list if name == wanted]

    def mutablecopy(self) -> MutableHeaders:
        """The same headers, to be changed."""
        return MutableHeaders(raw=self._list[:])

    def __getitem__(self, key: str) -> str:
        wanted = key.lower().encode("latin-1")
        for name, value in self._list:
            if name == wanted:
                return value.decode("latin-1")
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        wanted = key.lower().encode("latin-1", "replace")
        return any(name == wanted for name, _ in self._list)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self._list)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and sorted(self._list) == sorted(other._list)

    def __repr__(self) -> str:
        as_dict = dict(self.items())
        shown = f"{as_dict!r}" if len(as_dict) == len(self._list) else f"raw={self._list!r}"
        return f"{type(self).__name__}({shown})"


def _encoded(key: str, value: str) -> tuple[bytes, bytes]:
    header = (key.lower().encode("latin-1"), value.encode("latin-1"))
    check_headers((header,))
    return header


class MutableHeaders(Headers):
    """`Headers` that can be changed; a name or value that would begin another header is a `ValueError`."""

    @property
    def raw(self) -> RawHeaders:
        """The headers as pairs of bytes: the list itself."""
        return self._list

    def __setitem__(self, key: str, value: str) -> None:
        header = _encoded(key, value)
        places = [place for place, (name, _) in enumerate(self._list) if name == header[0]]
        if not places:
            self._list.append(header)
            return
        self._list[places[0]] = header
        for place in reversed(places[1:]):
            del self._list[place]

    def __delitem__(self, key: str) -> None:
        unwanted = key.lower().encode("latin-1")
        self._list[:] = [header for header in self._list if header[0] != unwanted]

    def __ior__(self, other: Mapping[str, str]) -> MutableHeaders:
        if not isinstance(other, Mapping):
            return NotImplemented
        self.update(other)
        return self

    def __or__(self, other: Mapping[str, str]) -> MutableHeaders:
        if not isinstance(other, Mapping):
            return NotImplemented
        new = self.mutablecopy()
        new.update(other)
        return new

    def setdefault(self, key: str, value: str) -> str:
        """The first value of the headers of this name; one with `value` is added if there is none."""
        if key not in self:
            self.append(key, value)
        return self[key]

    def update(self, other: Mapping[str, str]) -> None:
        """Replace the headers of these names by these."""
        for key, value in other.items():
            self[key] = value

    def append(self, key: str, value: str) -> None:
        """Add a header beside those of the same name."""
        self._list.append(_encoded(key, value))

    def add_vary_header(self, vary: str) -> None:
        """Add a name to the header `vary`."""
        self["vary"] = ", ".join([*self.getlist("vary"), vary])


class State:
    """What an application or a connection keeps, by attribute or by item.

    Args:
        state: The dictionary to keep it in; a new one if left out.
    """

    _state: dict[str, Any]

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        super().__setattr__("_state", {} if state is None else state)

    def __getattr__(self, key: str) -> Any:
        try:
            return self.__dict__["_state"][key]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {key!r}") from None

    def __setattr__(self, key: str, value: Any) -> None:
        self._state[key] = value

    def __delattr__(self, key: str) -> None:
        del self._state[key]

    def __getitem__(self, key: str) -> Any:
        return self._state[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._state[key] = value

    def __delitem__(self, key: str) -> None:
        del self._state[key]

    def __contains__(self, key: object) -> bool:
        return key in self._state

    def __iter__(self) -> Iterator[str]:
        return iter(self._state)

    def __len__(self) -> int:
        return len(self._state)
