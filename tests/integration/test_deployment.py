"""What docs/deployment.md and docs/troubleshooting.md say of proxies and process managers, tried on real ones."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.cli_process import serving, started
from tests.contracts.servers import free_port
from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli_process import Server

EXAMPLES = ROOT / "examples" / "deploy"
SECONDS = 20
WRAPPER = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


class Nginx:
    """nginx with the configuration of the example, in front of one server.

    Args:
        folder: For its files.
        behind: The port of the server.
        changes: What of the configuration is to be something else.
    """

    def __init__(self, folder: Path, behind: int, changes: dict[str, str]) -> None:
        program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
        if program is None:
            pytest.skip("nginx is not installed: on Debian and Ubuntu, apt-get install nginx-light")
        self.port = free_port()
        self.certificate = folder / "certificate.pem"
        key = folder / "key.pem"
        name = ("-subj", "/CN=chat", "-addext", "subjectAltName=DNS:chat.example.com")
        options = ("-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(key))
        subprocess.run(["openssl", "req", *options, *name, "-out", self.certificate], check=True, capture_output=True)
        text = (EXAMPLES / "nginx.conf").read_text()
        own = {
            "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "127.0.0.1:8000": f"127.0.0.1:{behind}",
            "/etc/ssl/chat.example.com.pem": str(self.certificate),
            "/etc/ssl/chat.example.com.key": str(key),
        }
        for old, new in {**own, **changes}.items():
            assert old in text.replace("trunkline run app:app --host 127.0.0.1 --port 8000", ""), old
            text = text.replace(old, new)
        (folder / "site.conf").write_text(text)
        (folder / "nginx.conf").write_text(WRAPPER.format(folder=folder))
        self._log = folder / "error.log"
        self._process = subprocess.Popen([program, "-p", folder, "-c", folder / "nginx.conf", "-e", self._log])
        deadline = time.monotonic() + SECONDS
        while not self._listens():
            assert self._process.poll() is None, f"nginx does not start:\n{self._log.read_text()}"
            assert time.monotonic() < deadline, "nginx does not listen"
            time.sleep(0.02)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), SECONDS).close()
        except OSError:
            return False
        return True

    def connect(self, **options: Any) -> ClientConnection:
        """A browser's page from the same origin."""
        client: ClientConnection = connect(
            "wss://chat.example.com/echo",
            sock=socket.create_connection(("127.0.0.1", self.port), SECONDS),
            ssl=ssl.create_default_context(cafile=str(self.certificate)),
            origin=Origin("https://chat.example.com"),
            proxy=None,
            max_size=None,
            **options,
        )
        return client

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(SECONDS)


@contextmanager
def behind_nginx(
    folder: Path, *arguments: str, changes: dict[str, str] | None = None
) -> Iterator[tuple[Nginx, Server]]:
    with serving("run", "tests.integration.deployed_app:app", "--port", "0", *arguments) as server:
        port = server.wait_for(r"running on http://127\.0\.0\.1:(\d+)")[1]
        nginx = Nginx(folder, int(port), changes or {})
        try:
            yield nginx, server
        finally:
            nginx.stop()


def test_behind_nginx_a_websocket_opens_and_knows_who_asked_for_what(tmp_path: Path) -> None:
    forwarded = {"X-Forwarded-For": "203.0.113.7"}
    with behind_nginx(tmp_path) as (nginx, _), nginx.connect(additional_headers=forwarded) as client:
        # The rightmost address that is not a trusted proxy's; the client here is on this machine too.
        assert json.loads(client.recv(SECONDS)) == {"url": "wss://chat.example.com/echo", "client": "203.0.113.7"}
        for message in ("hello", "x" * 3_000_000, b"\x00" * 70_000):
            client.send(message)
            assert client.recv(SECONDS) == message


def test_the_pings_of_the_server_keep_a_silent_connection_open(tmp_path: Path) -> None:
    changes = {"proxy_read_timeout 60s": "proxy_read_timeout 1s"}
    with behind_nginx(tmp_path, "--ws-ping-interval", "0.2", changes=changes) as (nginx, _), nginx.connect() as client:
        client.recv(SECONDS)
        with pytest.raises(TimeoutError):
            client.recv(3)
        client.send("still here")
        assert client.recv(SECONDS) == "still here"


def test_without_pings_the_proxy_ends_a_silent_connection_and_the_client_sees_1006(tmp_path: Path) -> None:
    changes = {"proxy_read_timeout 60s": "proxy_read_timeout 1s"}
    with behind_nginx(tmp_path, "--ws-ping-interval", "60", changes=changes) as (nginx, _), nginx.connect() as client:
        client.recv(SECONDS)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(SECONDS)
        assert closed.value.rcvd is None


def test_a_proxy_that_drops_the_upgrade_leaves_a_plain_request_that_finds_no_route(tmp_path: Path) -> None:
    changes = {"proxy_set_header Upgrade $http_upgrade;": "", "proxy_set_header Connection $connection_upgrade;": ""}
    with behind_nginx(tmp_path, changes=changes) as (nginx, server):
        with pytest.raises(InvalidStatus) as refused:
            nginx.connect()
        assert refused.value.response.status_code == 404
        server.wait_for(r'"GET /echo HTTP/1.1" 404')


def test_a_proxy_that_changes_the_host_fails_the_same_origin_check_and_the_log_says_what_to_write(
    tmp_path: Path,
) -> None:
    changes = {"proxy_set_header Host $http_host;": ""}
    with behind_nginx(tmp_path, changes=changes) as (nginx, server):
        with pytest.raises(InvalidStatus) as refused:
            nginx.connect()
        assert refused.value.response.status_code == 403
        server.wait_for(r'origins=\["same", "https://chat.example.com"\]')


def test_gunicorn_serves_with_our_engine_and_says_1012_when_it_stops() -> None:
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-k", "gunicorn_worker.EngineWorker", "-w", "2", "--no-control-socket"]
    command += ["-b", f"127.0.0.1:{port}", "--pythonpath", f"{EXAMPLES},{EXAMPLES.parent}", "hello:app"]
    with started(command) as server:
        for _ in range(2):
            server.wait_for("Application startup complete")
        with connect(f"ws://127.0.0.1:{port}/echo", proxy=None) as client:
            client.send("hello")
            assert client.recv(SECONDS) == "you said: hello"
            server.process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(SECONDS)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        assert server.process.wait(SECONDS) == 0


def test_workers_are_replaced_at_sighup_while_others_serve() -> None:
    arguments = ("run", "tests.integration.deployed_app:app", "--port", "0", "--workers", "2")
    with serving(*arguments) as server:
        port = server.wait_for(r"running on http://127\.0\.0\.1:(\d+)")[1]
        for _ in range(2):
            server.wait_for("Application startup complete")
        with connect(f"ws://127.0.0.1:{port}/echo", proxy=None) as client:
            server.process.send_signal(signal.SIGHUP)
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    client.recv(SECONDS)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
            with connect(f"ws://127.0.0.1:{port}/echo", proxy=None) as again:
                again.recv(SECONDS)
