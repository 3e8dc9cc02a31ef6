"""`trunkline run`: uvicorn with our engine and defaults; every option of uvicorn's own command is one of this."""

from __future__ import annotations

import copy
import os
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click
from uvicorn.main import main as uvicorn_command

from trunkline.cli.loading import check_module, load_application
from trunkline.engine.settings import PREFIX, EngineSettings, from_environment, from_uvicorn
from trunkline.workers import WORKERS_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["DEFAULTS", "main"]

# What uvicorn's command takes for an option that neither the command line nor a UVICORN_* variable gives.
DEFAULTS = {
    "ws": "trunkline.engine:WebSocketProtocol",
    "http": "trunkline.engine:HTTPProtocol",
    # On Windows uvicorn chooses the loop by how it starts its workers.
    "loop": "auto" if sys.platform == "win32" else "trunkline.cli.loop:new_event_loop",
    # uvicorn waits for ever for a handler that does not look at its connection, and so would Ctrl-C and a deploy.
    "timeout_graceful_shutdown": 10,
}


# Our own options. They go into the environment, because that is what worker processes inherit.
_NAMES = ", ".join(field.name for field in fields(EngineSettings))
OPTIONS = [
    click.Option(
        ["--drain"],
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="When the server stops, close the WebSockets (1012) at random moments of so many seconds.",
    ),
    click.Option(
        ["--engine"],
        multiple=True,
        metavar="NAME=VALUE",
        help=f"Set a limit of every WebSocket, for example max_message=65536. There are: {_NAMES}.",
    ),
]


def _engine_settings(drain: float | None, engine: Sequence[str], uvicorns: Mapping[str, Any]) -> None:
    """Put our options into the environment.

    Raises:
        click.UsageError: There is no such setting, or its value, that of a variable, or of one of uvicorn's options, is
            not what it takes.
    """
    chosen = dict(setting.partition("=")[::2] for setting in engine)
    if drain is not None:
        chosen["drain_window"] = str(drain)
    known = {field.name for field in fields(EngineSettings)}
    for name in chosen.keys() - known:
        raise click.UsageError(f"--engine takes NAME=VALUE, but there is no setting {name!r}; there are: {_NAMES}")
    variables = {PREFIX + name.upper(): value for name, value in chosen.items()}
    try:
        from_environment(EngineSettings(), {**os.environ, **variables})
        if uvicorns["ws"] == DEFAULTS["ws"]:
            from_uvicorn(EngineSettings(), uvicorns.__getitem__)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    os.environ.update(variables)


def _check(options: dict[str, Any]) -> None:
    """Refuse what cannot be served: uvicorn starts a worker whose application does not load again and again."""
    directory = os.path.abspath(options["app_dir"])
    if options["reload"]:
        # The reloader waits for a broken module to be mended, and each of its processes imports the module itself.
        check_module(options["app"], directory=directory)
    elif options["interface"] in {"auto", "asgi3"}:
        load_application(options["app"], directory=directory, factory=options["factory"])


def _checked(drain: float | None, engine: Sequence[str], **options: Any) -> None:
    _check(options)
    _engine_settings(drain, engine, options)
    if options["workers"] is not None:
        # What depends on the number of processes, as a hub in memory does, finds it there.
        os.environ[WORKERS_VARIABLE] = str(options["workers"])
    assert uvicorn_command.callback is not None
    uvicorn_command.callback(**options)


def main(arguments: Sequence[str]) -> int:
    """Serve an application until the process is told to end.

    Args:
        arguments: `module:app` and the options of uvicorn's command line.

    Raises:
        CommandError: There is no such application.
        SystemExit: At the end, with uvicorn's code; 2 for a wrong option.
    """
    command = copy.copy(uvicorn_command)
    command.callback = _checked
    command.params = [*command.params, *OPTIONS]
    command.help = (
        "Serve the ASGI application APP, written module:attribute. Options are those of uvicorn, and at the end ours."
    )
    command.main(list(arguments), prog_name="trunkline run", default_map=DEFAULTS)
