"""`trunkline run`: uvicorn with our defaults; every option of uvicorn's own command is an option of this one."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any

from uvicorn.main import main as uvicorn_command

from trunkline.cli.loading import check_module, load_application

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DEFAULTS", "main"]

# What uvicorn's command takes for an option that neither the command line nor a UVICORN_* variable gives.
DEFAULTS = {
    "ws": "websockets-sansio",
    # uvicorn waits for ever for a handler that does not look at its connection, and so would Ctrl-C and a deploy.
    "timeout_graceful_shutdown": 10,
}


def _check(options: dict[str, Any]) -> None:
    """Refuse what cannot be served: uvicorn starts a worker whose application does not load again and again."""
    directory = os.path.abspath(options["app_dir"])
    if options["reload"]:
        # The reloader waits for a broken module to be mended, and each of its processes imports the module itself.
        check_module(options["app"], directory=directory)
    elif options["interface"] in {"auto", "asgi3"}:
        load_application(options["app"], directory=directory, factory=options["factory"])


def _checked(**options: Any) -> None:
    _check(options)
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
    command.help = "Serve the ASGI application APP, written module:attribute. Options are those of uvicorn."
    command.main(list(arguments), prog_name="trunkline run", default_map=DEFAULTS)
