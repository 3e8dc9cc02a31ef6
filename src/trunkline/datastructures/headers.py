"""Headers: several may have one name, and names are compared without regard to case."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any

__all__ = ["Headers", "MutableHeaders", "check_headers"]

RawHeaders = list[tuple[bytes, bytes]]

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

    _list: RawHeaders

    def __init__(
        self,
        headers: Mapping[str, str] | None = None,
        raw: RawHeaders | None = None,
        scope: MutableMapping[str, Any] | None = None,
    ) -> None:
        if headers is None and raw is None:
            # ASGI allows any iterable; what MutableHeaders change must show in this scope, and in no copy of it.
            self._list = []
            if scope is not None:
                self._list = scope["headers"] = list(scope.get("headers", ()))
        elif scope is not None or (headers is not None and raw is not None):
            raise TypeError(
                f"{type(self).__name__}() takes one of headers, raw and scope, but got more; leave the others out"
            )
        elif raw is not None:
            self._list = raw
        else:
            self._list = [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()
            ]

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
