"""How many processes serve this application, as far as that is known: for what each of them keeps in its own memory."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import PurePath

__all__ = ["WORKERS_VARIABLE", "note_workers", "worker_count"]

# What `trunkline run --workers` leaves in the environment, and gunicorn and uvicorn read from it.
WORKERS_VARIABLE = "WEB_CONCURRENCY"

_SERVERS = {"gunicorn", "granian", "hypercorn", "uvicorn"}
_OPTIONS = ("--workers", "-w")

_told = 1


def note_workers(count: int) -> None:
    """Make known what a server's own configuration says; our engine does.

    Args:
        count: The number of processes.
    """
    global _told
    _told = max(_told, count)


def worker_count() -> int:
    """The number of processes; 1 if nothing is known of others.

    What the environment says counts, what our engine was told, what uvicorn has started this process with, and the
    command line of a server.
    """
    return max(_told, _number(os.environ.get(WORKERS_VARIABLE)), _of_uvicorn(), _of_command_line())


def _number(text: object) -> int:
    return int(str(text)) if str(text).isdecimal() else 1


def _of_uvicorn() -> int:
    # A worker is a process of `multiprocessing` that got the configuration, also by `uvicorn.run(workers=)`.
    started_with = getattr(multiprocessing.current_process(), "_kwargs", {})
    return _number(getattr(started_with.get("config"), "workers", None))


def _of_command_line() -> int:
    program = PurePath(sys.argv[0])
    # `gunicorn`, and `python -m gunicorn`.
    if _SERVERS.isdisjoint({program.stem, program.parent.name}):
        return 1
    for option, value in zip(sys.argv[1:], [*sys.argv[2:], ""], strict=True):
        name, equals, joined = option.partition("=")
        if name in _OPTIONS:
            return _number(joined if equals else value)
        if option.startswith("-w"):
            return _number(option[2:])
    return 1
