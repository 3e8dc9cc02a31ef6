"""Who is compared: a room as its users write it, on each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.servers.peers import PEERS, TRUNKLINE, UVICORN, Peer, trunkline, uvicorn

__all__ = ["BASELINE", "OURS", "OVER_REDIS", "PROGRAMS", "ROWS", "WORKERS", "Row", "memberships"]

PROGRAMS = Path(__file__).parent / "programs"
BASELINE, OURS = "fastapi", "trunkline"
WORKERS = 2
_SANSIO = "websockets-sansio"


@dataclass(frozen=True, slots=True)
class Row:
    """A room on a server.

    Attributes:
        peer: The server.
        path: The room's endpoint.
        around: What a protocol above WebSocket has before and behind a message.
        arguments: What else the load generator needs to know.
    """

    peer: Peer
    path: str = "/room"
    around: tuple[str, str] = ("", "")
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What --rows takes."""
        return self.peer.name

    @property
    def title(self) -> str:
        """What the tables call it."""
        return self.peer.title


def _known(name: str, title: str) -> Row:
    return Row(replace(next(peer for peer in PEERS if peer.name == name), title=title))


def _app(name: str, title: str, program: str, *pip: str) -> Peer:
    return Peer(name, title, uvicorn(f"{program}:app", _SANSIO), (*UVICORN, *pip))


_LITESTAR, _CHANNELS = ("litestar==2.*", "redis"), ("channels==4.*", "channels-redis==4.*", "django==5.2.*")

ROWS = (
    _known("trunkline", "**trunkline's hub**"),
    Row(_app("fastapi", "FastAPI's `ConnectionManager` on uvicorn", "fastapi_manager", "fastapi==0.165.*")),
    _known("websockets", "`websockets.broadcast`"),
    Row(_app("litestar", "Litestar channels", "litestar_app", *_LITESTAR)),
    Row(_app("channels", "Django Channels", "channels_app", *_CHANNELS)),
    Row(
        _app("socketio", "python-socketio", "socketio_app", "python-socketio==5.*"),
        "/socket.io/?EIO=4&transport=websocket",
        ('42["m","', '"]'),
        # Engine.IO opens by itself, Socket.IO is asked to.
        ("--greeting", "40", "--skip", "2"),
    ),
    _known("socketify", "socketify, native publish"),
    _known("bun", "Bun, native publish"),
)


def _workers(peer: Peer, name: str, title: str, path: str = "/room", **environment: str) -> Row:
    command = (*peer.command, "--workers", str(WORKERS))
    return Row(replace(peer, name=name, title=title, command=command, environment=environment), path)


_HUB = Peer("hub", "", trunkline("hub_redis:app"), (*TRUNKLINE, "redis"), ours=True)
_ON_LITESTAR = _app("", "", "litestar_app", *_LITESTAR)
_ON_CHANNELS = _app("", "", "channels_app", *_CHANNELS)

OVER_REDIS = (
    _workers(_HUB, "hub", "**trunkline's hub**", "/room"),
    _workers(_HUB, "hub-kept", "**trunkline's hub**, history of 100", "/kept"),
    _workers(_ON_LITESTAR, "litestar-pubsub", "Litestar, pub/sub", LITESTAR_BACKEND="pubsub"),
    _workers(_ON_LITESTAR, "litestar-streams", "Litestar, streams, history of 100", LITESTAR_BACKEND="streams"),
    _workers(_ON_CHANNELS, "channels-core", "Django Channels, `core` layer", CHANNELS_LAYER="core"),
    _workers(_ON_CHANNELS, "channels-pubsub", "Django Channels, `pubsub` layer", CHANNELS_LAYER="pubsub"),
)

memberships = Row(Peer("memberships", "", trunkline("memberships:app"), TRUNKLINE, ours=True))
