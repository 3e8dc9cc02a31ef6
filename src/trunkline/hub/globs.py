"""Patterns of topics' names: `*` stands for any characters, everything else for itself."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

__all__ = ["Glob", "Key"]


@lru_cache(1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


class Glob(NamedTuple):
    """A pattern of names."""

    pattern: str

    def matches(self, name: str) -> bool:
        """Whether a name is one of those that are meant."""
        return _compiled(self.pattern).fullmatch(name) is not None


Key = str | Glob
"""What a hub listens to: a topic by its name, or all that a pattern matches."""
