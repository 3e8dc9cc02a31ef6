"""`trunkline demo`: serve the chat example, from a checkout of the source or from an installed package."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from trunkline.cli import run
from trunkline.cli.loading import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["directory", "main"]

_PACKAGE = Path(__file__).resolve().parents[1]


def directory() -> Path:
    """Where the chat example is: in a checkout `examples/chat`; a wheel carries a copy of it beside the package.

    Raises:
        CommandError: It is in neither place.
    """
    places = (_PACKAGE / "_demo", _PACKAGE.parents[1] / "examples" / "chat")
    for place in places:
        if (place / "app.py").is_file():
            return place
    raise CommandError(f"the chat example is missing: expected app.py in {' or in '.join(map(str, places))}")


def _address(host: str, port: int) -> str:
    """What to open in a browser of this machine."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def main(arguments: Sequence[str]) -> int:
    """Serve the chat example until the process is told to end."""
    parser = argparse.ArgumentParser(prog="trunkline demo", description="Serve the chat example.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.port:
        print(f"Open {_address(options.host, options.port)} in two windows and chat. Ctrl-C ends it.", flush=True)
    return run.main(
        ["app:app", "--app-dir", str(directory()), "--host", options.host, "--port", str(options.port)],
    )
