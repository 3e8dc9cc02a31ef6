"""Tests that replace a dependency. Run them with `pytest examples/test_dependencies.py`."""

from collections.abc import Iterator

import pytest

from dependencies import User, app, get_user
from trunkline.testclient import TestClient


@pytest.fixture
def client() -> Iterator[TestClient]:
    app.dependency_overrides[get_user] = lambda: User(name="test", is_admin=True)
    yield TestClient(app)
    app.dependency_overrides.clear()


def test_the_feed_greets(client: TestClient) -> None:
    with client.websocket_connect("/feed") as websocket:
        assert websocket.receive_text() == "hello test"


def test_an_admin_sees_the_log(client: TestClient) -> None:
    with client.websocket_connect("/admin/log") as websocket:
        assert websocket.receive_text() == "all is well"
