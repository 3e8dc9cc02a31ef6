"""The running servers and clients of the contract suite, each started once for all its cases, when first needed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.contracts.clients import Client, NodeClient, WebsocketsClient
from tests.contracts.servers import SERVERS, RunningServer, serve

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

SERVER = pytest.StashKey[RunningServer]()


@pytest.fixture(scope="session", params=SERVERS, ids=lambda row: row.name)
def running_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serve(request.param, tmp_path_factory.mktemp(request.param.name)) as server:
        yield server


@pytest.fixture
def server(running_server: RunningServer, request: pytest.FixtureRequest) -> RunningServer:
    """A running server; its log of this test is shown when the test fails."""
    request.node.stash[SERVER] = running_server
    running_server.mark()
    return running_server


@pytest.fixture(scope="session", params=[WebsocketsClient, NodeClient], ids=lambda kind: kind.name)
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    made = request.param()
    with contextlib.ExitStack() as stack:
        if hasattr(made, "stop"):
            stack.callback(made.stop)
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and (server := item.stash.get(SERVER, None)) is not None:
        report.sections.append((f"log of {server.row.name} during this test", server.since_mark()))
    return report
