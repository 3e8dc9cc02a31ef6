"""What the URLs of brokers say."""

from __future__ import annotations

import pytest
from redis.asyncio.connection import SSLConnection

from trunkline.hub import Hub
from trunkline.hub.brokers.redis import RedisBroker
from trunkline.hub.brokers.redis.urls import Address, parse


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_one_server(scheme: str) -> None:
    target = parse(f"{scheme}://ada:s%40cret@[::1]:7000/3?health_check_interval=5")
    assert (target.kind, target.hosts, target.master) == ("", (Address("::1", 7000),), "")
    assert target.options == {"username": "ada", "password": "s@cret", "db": 3, "health_check_interval": 5.0}
    assert parse(f"{scheme}://") == ("", (Address("localhost", 6379),), "", {}, {})


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_over_tls(scheme: str) -> None:
    for url in (f"{scheme}://a", f"{scheme}+cluster://a,b", f"{scheme}+sentinel://a,b/name"):
        target = parse(f"{url}?ssl_ca_certs=ca.pem")
        assert target.options == target.sentinel_options
        assert target.options == {"connection_class": SSLConnection, "ssl_ca_certs": "ca.pem"}


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_sentinels(scheme: str) -> None:
    url = f"{scheme}+sentinel://:secret@one,[::2]:7,three:27000/my%20rooms/4?sentinel_password=other"
    target = parse(url)
    assert target.kind == "sentinel"
    assert target.hosts == (Address("one", 26379), Address("::2", 7), Address("three", 27000))
    assert target.master == "my rooms"
    assert target.options == {"password": "secret", "db": 4}
    assert target.sentinel_options == {"password": "other"}
    assert [str(host) for host in target.hosts] == ["one:26379", "[::2]:7", "three:27000"]


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_a_cluster(scheme: str) -> None:
    target = parse(f"{scheme}+cluster://ada:secret@one,two:7000/0")
    assert (target.kind, target.hosts) == ("cluster", (Address("one", 6379), Address("two", 7000)))
    assert target.options == {"username": "ada", "password": "secret", "db": 0}


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis+sentinel://one,two", "expected the name of a master"),
        ("redis+cluster://one/1", "a cluster has one database"),
        ("redis://one,two", r"expected redis\+cluster:// or redis\+sentinel:// before several servers"),
        ("redis://one:port", "port"),
        ("redis://one?socket_timeout=3", "time limits of its own"),
        ("redis://one?colour=blue", "an option that redis-py's connections do not take.*colour"),
        ("redis+sentinel://one/name?sentinel_colour=blue", "an option that redis-py's connections do not take.*colour"),
        ("redis+moon://one", r"redis\+sentinel://host1,host2/name"),
    ],
)
def test_what_cannot_be_read_is_told_in_words(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Hub(url)


def test_a_broker_takes_only_urls_of_redis() -> None:
    with pytest.raises(ValueError, match=r"expected redis://.*but got 'memory://'"):
        RedisBroker("memory://")
