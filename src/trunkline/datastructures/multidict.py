"""Mappings in which a key may have several values, and the query parameters, which are one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlencode

if TYPE_CHECKING:
    from collections.abc import ItemsView, KeysView, ValuesView

__all__ = ["ImmutableMultiDict", "MultiDict", "QueryParams"]

KeyT = TypeVar("KeyT")
ValueT_co = TypeVar("ValueT_co", covariant=True)


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
