"""What the URL of a broker says: which servers, how they are found, and how to connect to them.

    redis://user:password@host:6379/0
    redis+sentinel://user:password@host1:26379,host2:26379/name/0?sentinel_password=...
    redis+cluster://user:password@host1:6379,host2:6379

`rediss` uses TLS, and `valkey` and `valkeys` say the same of Valkey. A query gives options of redis-py's connections,
for example `?ssl_ca_certs=...`. User and password are those of the servers that keep the data; Sentinels have their
own.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from redis.asyncio.connection import parse_url

__all__ = ["Address", "Target", "parse"]

SERVER_PORT = 6379
SENTINEL_PORT = 26379

_URL = re.compile(r"(?P<name>redis|valkey)(?P<tls>s?)(?:\+(?P<kind>sentinel|cluster))?://")
_OF_SENTINELS = "sentinel_"


class Address(NamedTuple):
    """Where a server is."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Target(NamedTuple):
    """What is to be connected to.

    Attributes:
        kind: How the server of a topic is found: `""` for one that is always the same, `"sentinel"`, `"cluster"`.
        hosts: The server, the Sentinels, or some servers of the cluster.
        master: What the Sentinels call the master.
        options: What redis-py's connections to servers take, but for host and port.
        sentinel_options: The same of those to Sentinels.
    """

    kind: str
    hosts: tuple[Address, ...]
    master: str
    options: dict[str, Any]
    sentinel_options: dict[str, Any]


def parse(url: str) -> Target:
    """Read the URL of a broker.

    Raises:
        ValueError: It cannot be read.
    """
    found = _URL.match(url)
    if found is None:
        raise ValueError(f"expected redis://, redis+sentinel:// or redis+cluster://, but got {url!r}")
    scheme, kind = f"redis{found['tls']}", found["kind"] or ""
    parts = urlsplit(f"{scheme}://{url[found.end() :]}")
    user, _, hosts = parts.netloc.rpartition("@")
    addresses = tuple(_address(host, SENTINEL_PORT if kind == "sentinel" else SERVER_PORT) for host in hosts.split(","))
    if not kind and len(addresses) > 1:
        raise ValueError(f"expected redis+cluster:// or redis+sentinel:// before several servers, but got {url!r}")
    master, database = _path(kind, [unquote(part) for part in parts.path.split("/") if part], url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    if any(name.endswith(("socket_timeout", "socket_connect_timeout")) for name, _ in query):
        raise ValueError(f"the hub has time limits of its own: leave those of sockets out of {url!r}")
    own = urlencode([(name, value) for name, value in query if not name.startswith(_OF_SENTINELS)])
    of_sentinels = {name.removeprefix(_OF_SENTINELS): value for name, value in query if name.startswith(_OF_SENTINELS)}
    options: dict[str, Any] = {**parse_url(f"{scheme}://{user}{'@' if user else ''}host/{database}?{own}")}
    del options["host"]
    bare = {name: value for name, value in options.items() if name not in ("username", "password", "db")}
    return Target(kind, addresses, master, options, {**bare, **of_sentinels})


def _address(text: str, port: int) -> Address:
    parts = urlsplit(f"//{text}")
    return Address(unquote(parts.hostname or "localhost"), parts.port or port)


def _path(kind: str, parts: list[str], url: str) -> tuple[str, str]:
    """The master's name and the database."""
    if kind == "sentinel":
        if not parts:
            raise ValueError(f"expected the name of a master, as in redis+sentinel://host1,host2/name, but got {url!r}")
        return parts[0], "".join(parts[1:])
    if kind == "cluster" and "".join(parts) not in ("", "0"):
        raise ValueError(f"a cluster has one database, without a number; but got {url!r}")
    return "", "".join(parts)
