"""Fixtures of the whole suite.

Tests marked `anyio` run on asyncio and on trio (the fixture `anyio_backend` of the plugin); a module that is for
asyncio only overrides that fixture.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from hypothesis import HealthCheck, settings

from trunkline.testclient import TestClient

if TYPE_CHECKING:
    from trunkline.types import ASGIApp


# A shell starts what it puts in the background (`scripts/test &`) with SIGINT ignored, and child processes inherit
# that: those that a test interrupts would not notice.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes tells of the machine. One that hangs is ended by pytest's timeout.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


class ClientFactory(Protocol):
    """Makes test clients on the backend of the test."""

    def __call__(self, app: ASGIApp, **options: Any) -> TestClient: ...


@pytest.fixture
def test_client_factory(anyio_backend_name: Any, anyio_backend_options: dict[str, Any]) -> ClientFactory:
    """A `TestClient` whose application runs on asyncio, then on trio."""

    def make(app: ASGIApp, **options: Any) -> TestClient:
        return TestClient(app, backend=anyio_backend_name, backend_options=anyio_backend_options, **options)

    return make
