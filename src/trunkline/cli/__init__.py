"""The `trunkline` command: one module per subcommand, loaded when it is asked for.

Each of those modules has `main(arguments) -> int`, which gives the exit code: 0 for success, 1 when what was asked
did not work out, 2 when it was asked wrongly. `CommandError` is the third of them in words.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import TYPE_CHECKING

import trunkline
from trunkline.cli.loading import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

COMMANDS = {
    "run": "serve an application",
    "routes": "show the routes of an application as a table",
    "connect": "talk to a WebSocket server, by hand or from a pipe",
    "doctor": "check what this environment has and lacks",
    "demo": "serve the chat example",
    "hub": "look into the topics of a hub over Redis, and publish to them",
}


def _parser() -> argparse.ArgumentParser:
    commands = "\n".join(f"  {name:9}{summary}" for name, summary in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="trunkline",
        description="The WebSocket framework for Python's ASGI.",
        usage="trunkline [-h] [--version] COMMAND ...",
        epilog=f"commands:\n{commands}\n\n`trunkline COMMAND --help` explains one of them.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"trunkline {trunkline.__version__}")
    parser.add_argument("command", nargs="?", choices=COMMANDS, metavar="COMMAND", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows the program's name; `sys.argv[1:]` when left out.

    Returns:
        The exit code: 0, 1 or 2.

    Raises:
        SystemExit: From the parsers: after `--help` (0), for a wrong option (2), and from uvicorn when it cannot start.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return 2
    command = importlib.import_module(f"trunkline.cli.{options.command}")
    try:
        code: int = command.main(options.arguments)
    except CommandError as error:
        print(f"trunkline {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130  # as a shell reports a program that SIGINT has ended
    return code
