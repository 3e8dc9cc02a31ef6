"""`trunkline connect`: the real command against a scripted server, from pipes and on a terminal."""

from __future__ import annotations

import asyncio
import http
import os
import pty
import select
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from websockets.sync.server import Server, ServerConnection, serve

from tests.cli_process import COMMAND, TIMEOUT, trunkline
from trunkline.cli import connect, main

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from websockets.http11 import Request, Response
    from websockets.typing import Subprotocol

REFUSALS = {"/forbidden": (403, "not today"), "/secret": (401, ""), "/teapot": (418, ""), "/odd": (599, "odd")}


def gate(connection: ServerConnection, request: Request) -> Response | None:
    if request.path not in REFUSALS:
        return None
    status, text = REFUSALS[request.path]
    response = connection.respond(http.HTTPStatus.FORBIDDEN, text)
    response.status_code = status
    return response


def choose(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return offered[0] if offered else None


def talk(connection: ServerConnection) -> None:
    assert connection.request is not None
    match connection.request.path:
        case "/greet":
            connection.send('{"hello": ["wörld", 1]}')
            connection.send(b"\x00trunkline in hexadecimal\xff")
            connection.send("plain \x1b[2J text")
            connection.send(b"!")
        case "/headers":
            connection.send(str(connection.request.headers.get_all("X-Name")))
            connection.send(str(connection.request.headers["User-Agent"]))
            return
        case "/leave":
            connection.recv(timeout=TIMEOUT)
            connection.close(4001, "see \x1byou")
            return
        case "/vanish":
            connection.socket.shutdown(socket.SHUT_RDWR)
            return
        case "/chatty":
            for number in range(1_000_000):
                connection.send(str(number))
    for message in connection:
        connection.send(message)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve(talk, "127.0.0.1", 0, process_request=gate, select_subprotocol=choose) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{port_of(server)}"
        server.shutdown()
        thread.join(TIMEOUT)


def port_of(server: Server) -> int:
    return int(server.socket.getsockname()[1])


@contextmanager
def listening(*, answer: bytes | None) -> Iterator[str]:
    """A TCP server that gives this answer to whoever connects, or none at all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve_one() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(answer or b"")

        if answer is not None:
            threading.Thread(target=serve_one, daemon=True).start()
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}"


# --- pipes ----------------------------------------------------------------------------------------------------------


def test_lines_of_a_pipe_are_sent_and_answers_come_out_as_they_are(url: str) -> None:
    done = trunkline("connect", url, stdin='hello\n{"a":  1}\r\n\nwörld without end')
    assert done.stdout == 'hello\n{"a":  1}\n\nwörld without end\n'
    assert done.stderr == f"connected to {url}\nclosed: 1000 (normal closure)\n"
    assert done.returncode == 0


def test_binary_messages_are_shown_as_a_hex_dump_with_their_length(url: str) -> None:
    done = trunkline("connect", f"{url}/greet")
    assert done.stdout.splitlines() == [
        '{"hello": ["wörld", 1]}',
        "binary, 26 bytes",
        "00000000  00 74 72 75 6e 6b 6c 69 6e 65 20 69 6e 20 68 65  .trunkline in he",
        "00000010  78 61 64 65 63 69 6d 61 6c ff                    xadecimal.",
        "plain \x1b[2J text",
        "binary, 1 byte",
        "00000000  21                                               !",
    ]


def test_headers_and_subprotocols_are_sent(url: str) -> None:
    done = trunkline(
        "connect", f"{url}/headers", "--header", "X-Name: a:b", "--header", "X-Name:c", "--subprotocol", "chat"
    )
    assert done.stdout.startswith("['a:b', 'c']\ntrunkline/")
    assert "subprotocol chat\n" in done.stderr


def test_a_close_by_the_server_ends_the_program_while_its_input_stays_open(url: str) -> None:
    with subprocess.Popen(
        [*COMMAND, "connect", f"{url}/leave"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("bye\n")
        process.stdin.flush()
        assert process.wait(TIMEOUT) == 1
        assert process.stderr.read().endswith("closed: 4001 (private use): see \\x1byou\n")


def test_a_lost_connection_is_a_failure(url: str) -> None:
    done = trunkline("connect", f"{url}/vanish", "--wait", "20")
    assert done.returncode == 1
    assert "closed: 1006" in done.stderr


def test_a_server_that_never_ends_does_not_keep_the_program(url: str) -> None:
    begin = time.monotonic()
    done = trunkline("connect", f"{url}/chatty", "--wait", "0.2")
    assert done.stdout.startswith("0\n1\n2\n")
    assert time.monotonic() - begin < TIMEOUT / 2


def test_a_line_that_is_no_text_is_named_and_not_sent(url: str) -> None:
    done = trunkline("connect", url, stdin=b"a\n\xff\xfe\nb\n")
    assert done.stdout == "a\nb\n"
    assert "line not sent: expected UTF-8, but invalid start byte at byte 0" in done.stderr


def test_a_closed_input_is_an_empty_one(url: str) -> None:
    done = subprocess.run(
        [*COMMAND, "connect", url, "--wait", "0"],
        preexec_fn=lambda: os.close(0),
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0
    assert b"closed: 1000" in done.stderr


def test_a_reader_that_has_seen_enough_ends_the_program_quietly(url: str) -> None:
    with subprocess.Popen(
        [*COMMAND, "connect", f"{url}/chatty", "--wait", "20"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "0\n"
        process.stdout.close()
        assert process.wait(TIMEOUT) == 0
        assert "Traceback" not in process.stderr.read()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_an_output_that_takes_nothing_is_a_failure_in_words(url: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, "connect", f"{url}/greet", "--wait", "20"],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.endswith(b"the output failed: No space left on device\n")
    assert b"Traceback" not in done.stderr


def test_a_line_that_comes_after_the_end_ends_the_reader() -> None:
    async def ask() -> None:
        connect.Lines()._wanted.release()

    reading, writing = os.pipe()
    kept = os.dup(0)
    os.dup2(reading, 0)
    try:
        asyncio.run(ask())
        [reader] = [thread for thread in threading.enumerate() if thread.name == "stdin"]
        os.write(writing, b"too late\n")
        reader.join(TIMEOUT)
        assert not reader.is_alive()
    finally:
        os.dup2(kept, 0)
        for descriptor in (kept, reading, writing):
            os.close(descriptor)


def test_ctrl_c_closes_politely(url: str) -> None:
    with subprocess.Popen(
        [*COMMAND, "connect", f"{url}/greet"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()  # it is connected, and listens
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 0
        assert process.stderr.read().endswith(b"closed: 1000 (normal closure)\n")


# --- a terminal -----------------------------------------------------------------------------------------------------


def test_on_a_terminal_messages_come_with_time_and_type_and_json_is_indented(url: str) -> None:
    master, slave = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "connect", f"{url}/greet"], stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    ) as process:
        os.close(slave)
        os.write(master, b"typed\n")
        seen = read_until(master, "text  typed")
        os.write(master, b"\x04")  # Ctrl-D: the end of the input
        assert process.wait(TIMEOUT) == 0
        os.close(master)
    lines = [line.rstrip("\r") for line in seen.split("\n")]
    json = next(number for number, line in enumerate(lines) if line.endswith("  json"))
    assert lines[json + 1 : json + 7] == ["{", '  "hello": [', '    "wörld",', "    1", "  ]", "}"]
    hour, minute, second = lines[json].split()[0].split(":")
    assert (len(hour), len(minute), len(second)) == (2, 2, 6)
    assert any(line.endswith("binary, 26 bytes") for line in lines)
    assert any(line.endswith("text  plain \\x1b[2J text") for line in lines)


def read_until(terminal: int, text: str) -> str:
    seen = b""
    deadline = time.monotonic() + TIMEOUT
    while text.encode() not in seen:
        ready, _, _ = select.select([terminal], [], [], deadline - time.monotonic())
        assert ready, f"expected {text!r}, but only this came: {seen!r}"
        seen += os.read(terminal, 4096)
    return seen.decode()


@pytest.mark.parametrize("text", ["not json", "[" * 100_000, "1" * 5000, '"unfinished'])
def test_text_that_is_no_json_is_shown_as_it_is(text: str) -> None:
    assert connect.shown(text, terminal=True).endswith(f"  text  {text}")


# --- no connection --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/forbidden", ["refused: HTTP 403 Forbidden\n", "not today\n", "no WebSocket route has this path", "Origin"]),
        ("/secret", ["refused: HTTP 401 Unauthorized\n", "--header 'Authorization: Bearer ...'\n"]),
        ("/teapot", ["refused: HTTP 418 I'm a Teapot\n"]),
        ("/odd", ["refused: HTTP 599\n", "odd\n"]),
    ],
)
def test_a_refusal_shows_the_status_the_body_and_a_hint(path: str, words: list[str], url: str) -> None:
    done = trunkline("connect", url + path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert all(word in done.stderr for word in words), done.stderr


def test_a_closed_port_is_said_to_be_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = trunkline("connect", f"ws://127.0.0.1:{port}/")
    assert (done.returncode, done.stderr) == (1, f"ws://127.0.0.1:{port}/: nothing listens there\n")


def test_an_address_that_cannot_be_reached_is_said_to_be_so() -> None:
    done = trunkline("connect", "ws://255.255.255.255:1/")
    assert done.returncode == 1
    assert done.stderr.startswith("ws://255.255.255.255:1/: no connection: ")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"SSH-2.0-OpenSSH_9\r\n", "no HTTP answer"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n", "the handshake failed"),
    ],
)
def test_a_server_that_speaks_something_else_is_named_as_such(answer: bytes, words: str) -> None:
    with listening(answer=answer) as url:
        done = trunkline("connect", url)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("answer", "words"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "no TLS connection: "), (b"", "closed the connection before")],
)
def test_tls_where_there_is_none_is_named_as_such(answer: bytes, words: str) -> None:
    with listening(answer=answer) as url:
        done = trunkline("connect", url.replace("ws://", "wss://"))
    assert done.returncode == 1
    assert words in done.stderr


def test_a_silent_server_is_given_up_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(connect, "OPEN_TIMEOUT", 0.2)
    with listening(answer=None) as url:
        assert main(["connect", url]) == 1
    assert capsys.readouterr().err == f"{url}: no answer in 0.2 s\n"


def test_a_server_that_does_not_read_is_given_up_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line is longer than what the kernel buffers, so the send waits for a reader."""
    monkeypatch.setattr(connect, "SEND_TIMEOUT", 0.2)
    monkeypatch.setattr(connect, "CLOSE_TIMEOUT", 0.2)
    ended = threading.Event()

    def deaf(connection: ServerConnection) -> None:
        ended.wait(TIMEOUT)

    reading, writing = os.pipe()
    with serve(deaf, "127.0.0.1", 0, max_queue=1, max_size=None, compression=None, close_timeout=0.2) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        threading.Thread(target=feed, args=(writing,), daemon=True).start()
        kept = os.dup(0)
        os.dup2(reading, 0)
        try:
            assert main(["connect", f"ws://127.0.0.1:{port_of(server)}/"]) == 1
        finally:
            os.dup2(kept, 0)
            os.close(kept)
            os.close(reading)
            ended.set()
            server.shutdown()
    assert "the server has not read for 0.2 s" in capsys.readouterr().err


def feed(pipe: int) -> None:
    line = b"x" * 2**20 + b"\n"
    try:
        for _ in range(64):
            os.write(pipe, line)
    except OSError:
        pass
    os.close(pipe)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["http://localhost/ws"], "expected ws:// or wss://; write ws://localhost/ws"),
        (["https://localhost/ws"], "write wss://localhost/ws"),
        (["localhost:8000/ws"], "write ws://localhost:8000/ws"),
        (["ws://"], "hostname isn't provided"),
        (["ws://127.0.0.1:99999/"], "Port out of range"),
        (["ws://127.0.0.1:1/", "--header", "novalue"], "expected 'Name: value', but got 'novalue'"),
        (["ws://127.0.0.1:1/", "--wait", "-1"], "expected 0 to 86400 seconds, but got -1"),
        (["ws://127.0.0.1:1/", "--wait", "soon"], "invalid"),
        (["ws://127.0.0.1:1/", "--subprotocol", "a b"], "invalid subprotocol"),
    ],
)
def test_wrong_options_are_refused_in_words(arguments: list[str], words: str) -> None:
    done = trunkline("connect", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
