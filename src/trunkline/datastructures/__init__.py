"""The values that a connection is described with: URLs, headers, query parameters, state.

All are built from an ASGI scope or by hand, and none does any I/O. `Headers`, `QueryParams` and `ImmutableMultiDict`
cannot be changed; `MutableHeaders` and `MultiDict` can.
"""

from __future__ import annotations

from trunkline.datastructures.headers import Headers, MutableHeaders, check_headers
from trunkline.datastructures.multidict import ImmutableMultiDict, MultiDict, QueryParams
from trunkline.datastructures.state import Address, State
from trunkline.datastructures.urls import URL, Host, URLPath, parse_host

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
