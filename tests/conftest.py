"""Fixtures of the whole suite.

Tests marked `anyio` run on asyncio and on trio (the fixture `anyio_backend` of the plugin); a module that is for
asyncio only overrides that fixture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

from trunkline.testclient import TestClient

if TYPE_CHECKING:
    from trunkline.types import ASGIApp


class ClientFactory(Protocol):
    """Makes test clients on the backend of the test."""

    def __call__(self, app: ASGIApp, **options: Any) -> TestClient: ...


@pytest.fixture
def test_client_factory(anyio_backend_name: Any, anyio_backend_options: dict[str, Any]) -> ClientFactory:
    """A `TestClient` whose application runs on asyncio, then on trio."""

    def make(app: ASGIApp, **options: Any) -> TestClient:
        return TestClient(app, backend=anyio_backend_name, backend_options=anyio_backend_options, **options)

    return make
