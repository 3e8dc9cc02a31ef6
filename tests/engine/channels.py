"""Open channels without a connection, compiled and as they are."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

import pytest

from tests.engine.client_frames import TEXT, client_frame
from tests.engine.memory import Transport
from trunkline.engine.codec import NATIVE, Decoder
from trunkline.engine.settings import EngineSettings
from trunkline.engine.shared import share_of

__all__ = ["MODULES", "Make", "module_of", "open_channel"]

Make = Any  # a function that makes an open channel with its transport
MODULES = ["pure", pytest.param("native", marks=pytest.mark.skipif(not NATIVE, reason="not compiled"))]


def module_of(name: str) -> Any:
    """The module of channels of this name: `pure` or `native`."""
    return importlib.import_module(f"trunkline.engine._channel{'_native' if name == 'native' else ''}")


def open_channel(module: Any) -> Make:
    """What makes channels of a module."""

    class Open(module.Channel):  # type: ignore[misc]  # of a module that is chosen when it runs
        """What `Connection` adds, as far as tests of channels go."""

        def __init__(self) -> None:
            loop = asyncio.get_running_loop()
            transport: Any = Transport()
            super().__init__(loop, transport, EngineSettings(), share_of(loop))
            self._decoder = Decoder(1000)
            self.hearing = self.speaking = self.writable = True

        def read(self, *texts: str) -> None:
            """One read with these messages, here and now."""
            data = b"".join(client_frame(TEXT, text.encode()) for text in texts)
            self.feed(data, len(data))

        def says(self, *texts: str) -> None:
            """One read with these messages, from a callback of the loop as a transport's are."""
            asyncio.get_running_loop().call_soon(self.read, *texts)

        def end(self) -> None:
            self.closed = (1000, "")
            self._wake()

    return Open
