"""How many processes serve this application, as far as that is known: for what each of them keeps in its own memory."""

from __future__ import annotations

import os

__all__ = ["WORKERS_VARIABLE", "note_workers", "worker_count"]

# What `trunkline run --workers` leaves in the environment, and gunicorn and uvicorn read from it.
WORKERS_VARIABLE = "WEB_CONCURRENCY"

_told = 1


def note_workers(count: int) -> None:
    """Make known what a server's own configuration says; our engine does.

    Args:
        count: The number of processes.
    """
    global _told
    _told = max(_told, count)


def worker_count() -> int:
    """The number of processes; 1 if nothing is known of others."""
    said = os.environ.get(WORKERS_VARIABLE, "")
    return max(_told, int(said) if said.isdecimal() else 1)
