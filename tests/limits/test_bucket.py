"""The token bucket against a model that remembers every message, and what the meter makes of two buckets."""

import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, strategies as st

from trunkline.limits import LimitError, Limits, Rate
from trunkline.limits._bucket import Bucket
from trunkline.limits._meter import Meter, size_of

steps = st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 30)), min_size=1, max_size=60)
rates = st.builds(Rate, st.integers(1, 20), st.integers(1, 40))


class Model:
    """What a rate allows, from its definition: in no span of time more than its burst and what comes in that span.

    Exact, and without a level: every message that was allowed is kept with its time in milliseconds.
    """

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.taken: list[tuple[int, int]] = []

    def allows(self, at: int, tokens: int) -> bool:
        assert self.rate.burst is not None
        spent = tokens
        for since, cost in [*reversed(self.taken)]:
            spent += cost
            if spent > self.rate.burst + Fraction(self.rate.per_second) * (at - since) / 1000:
                return False
        return tokens <= self.rate.burst

    def take(self, at: int, tokens: int) -> None:
        self.taken.append((at, tokens))


@given(rates, steps)
def test_a_bucket_allows_what_the_definition_of_a_rate_allows(rate: Rate, steps: list[tuple[int, int]]) -> None:
    bucket, model, at = Bucket(rate, 0.0), Model(rate), 0
    for pause, tokens in steps:
        at += pause
        bucket.fill(at / 1000)
        bucket.cut()
        allowed = bucket.delay(tokens) == 0
        assert allowed == model.allows(at, tokens)
        if allowed:
            bucket.spend(tokens)
            model.take(at, tokens)


@given(rates, steps)
def test_after_the_delay_there_are_so_many_tokens_and_not_before(rate: Rate, steps: list[tuple[int, int]]) -> None:
    bucket, at = Bucket(rate, 0.0), 0.0
    for pause, tokens in steps:
        at += pause / 1000
        bucket.fill(at)
        delay = bucket.delay(tokens)
        if delay:
            bucket.fill(at + delay / 2)
            assert bucket.delay(tokens) > 0
        at += delay
        bucket.fill(at)
        assert bucket.delay(tokens) == 0
        bucket.spend(tokens)


@given(rates, st.lists(st.integers(0, 2000), min_size=1, max_size=60), st.integers(0, 10_000))
def test_a_client_that_keeps_to_the_rate_is_not_closed_because_the_application_was_busy(
    rate: Rate, pauses: list[int], busy: int
) -> None:
    model, sent, at = Model(rate), [], 0
    for pause in pauses:
        at += pause
        if model.allows(at, 1):
            model.take(at, 1)
            sent.append(at)
    limits = Limits(messages_per_second=rate, policy="close")
    meter = Meter(limits, 0.0)
    # The application takes nothing until some time in between, then all that has come, then each as it comes.
    meter.rest(sent[0] / 1000)
    for time in sent:
        taken_at = max(time, sent[0] + busy)
        if taken_at > busy + sent[0]:
            meter.rest(time / 1000)
        assert meter.excess("x", taken_at / 1000) is None


def test_what_goes_beyond_is_said_in_words() -> None:
    meter = Meter(Limits(messages_per_second=2, bytes_per_second=Rate(10.5, burst=20), policy="close"), 0.0)
    assert meter.excess("x" * 20, 0.0) is None
    assert meter.excess("x", 0.0) == "more than 10.5 bytes per second"
    assert meter.excess("", 0.0) == "more than 2 messages per second"


def test_a_message_of_any_size_may_come_where_messages_wait_and_the_next_waits_the_longer() -> None:
    meter = Meter(Limits(bytes_per_second=10), 0.0)
    assert meter.delay(0.0) == 0
    assert meter.excess("x" * 100, 0.0) is None
    assert meter.delay(0.0) == pytest.approx(9.1)
    assert meter.delay(9.2) == 0


def test_bytes_are_those_of_utf_8() -> None:
    assert [size_of(data) for data in ("a", "ü", "\U0001f600", "\ud800", b"\xff")] == [1, 2, 4, 3, 1]


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        ((0,), "a number above 0 as per_second of Rate, but got 0"),
        ((-1.5,), "a number above 0 as per_second of Rate, but got -1.5"),
        ((math.inf,), "a number above 0 as per_second of Rate, but got inf"),
        ((math.nan,), "a number above 0 as per_second of Rate, but got nan"),
        ((True,), "a number above 0 as per_second of Rate, but got True"),
        (("5",), "a number above 0 as per_second of Rate, but got '5'"),
        ((1, 0.5), "1 or more as burst of Rate, but got 0.5"),
        ((1, math.inf), "1 or more as burst of Rate, but got inf"),
    ],
)
def test_a_rate_that_is_none_is_refused(rate: Any, words: str) -> None:
    with pytest.raises(LimitError) as caught:
        Rate(*rate)
    assert str(caught.value) == f"expected {words}"


def test_a_burst_that_is_not_said_is_what_comes_in_a_second_and_one_at_least() -> None:
    assert [Rate(rate).size for rate in (0.1, 1, 7.5)] == [1, 1, 7.5]
