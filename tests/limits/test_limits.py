"""What a limit may be, and how those of a route and of its application become one."""

import math
from typing import Any

import pytest

from trunkline import App, Router
from trunkline.exceptions import TrunklineError
from trunkline.limits import LimitError, Limits, Rate
from trunkline.routing import BaseRoute, RouteError


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("max_message", 0, "bytes, 1 or more"),
        ("max_message", -1, "bytes, 1 or more"),
        ("max_message", 1.5, "bytes, 1 or more"),
        ("max_message", True, "bytes, 1 or more"),
        ("max_message", "64k", "bytes, 1 or more"),
        ("max_message", -math.inf, "bytes, 1 or more"),
        ("messages_per_second", 0, "a number above 0 or a Rate"),
        ("messages_per_second", "5/s", "a number above 0 or a Rate"),
        ("bytes_per_second", -1, "a number above 0 or a Rate"),
        ("bytes_per_second", True, "a number above 0 or a Rate"),
    ],
)
def test_a_limit_that_cannot_be_kept_is_refused_with_what_to_write(name: str, value: Any, words: str) -> None:
    with pytest.raises(LimitError) as caught:
        Limits(**{name: value})
    assert str(caught.value) == (f"expected {words}, or math.inf for no limit, as {name} of Limits, but got {value!r}")
    assert isinstance(caught.value, TrunklineError)


def test_a_policy_of_another_name_is_refused() -> None:
    with pytest.raises(LimitError, match='expected "wait" or "close" as policy of Limits, but got \'drop\''):
        Limits(policy="drop")  # type: ignore[arg-type]


def test_a_largest_message_that_would_always_close_is_refused() -> None:
    with pytest.raises(LimitError, match=r"write bytes_per_second=Rate\(100, burst=200\)"):
        Limits(max_message=200, bytes_per_second=100, policy="close")
    with pytest.raises(LimitError):
        Limits(max_message=200).within(Limits(bytes_per_second=100, policy="close"))
    for allowed in (
        Limits(max_message=200, bytes_per_second=100),
        Limits(max_message=200, bytes_per_second=Rate(100, burst=200), policy="close"),
        Limits(max_message=math.inf, bytes_per_second=100, policy="close"),
        Limits(max_message=200, bytes_per_second=math.inf, policy="close"),
    ):
        assert allowed.policy or allowed.rates


def test_what_the_inner_ones_leave_open_the_outer_ones_say() -> None:
    assert Limits(max_message=1).within(Limits(max_message=2)) == Limits(max_message=1)
    assert Limits().within(Limits(max_message=2)) == Limits(max_message=2)
    assert Limits(max_message=1).within(Limits()) == Limits(max_message=1)


def test_a_route_of_a_kind_of_its_own_cannot_be_within_limits() -> None:
    with pytest.raises(RouteError, match="dependencies and limits"):
        App(routes=[BaseRoute()], limits=Limits(max_message=1))
    Router([BaseRoute()])
