"""What is raised for limits that cannot be kept."""

from __future__ import annotations

from trunkline.exceptions import TrunklineError

__all__ = ["LimitError"]


class LimitError(TrunklineError, ValueError):
    """Raised when `Limits` are made that could not be kept; the text says what to write."""
