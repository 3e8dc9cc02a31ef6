"""Writing past a transport, straight to its socket, while nothing waits in the transport.

Sending is the largest part of what a small message costs, and a transport takes its own time over it: uvloop's queues
what it is given, and uses a system call that costs the kernel more. What the system does not take, errors among it, is
the transport's: it tries again, finds the same, and deals with it.

Only transports that are known are passed by: one that encrypts, counts, or is made up has to see every byte. That those
keep their socket open until `connection_lost` has been called, so that its descriptor is nobody else's, is documented
nowhere; tests/engine/test_direct.py fails when it changes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from trunkline.engine.codec import NATIVE

if TYPE_CHECKING:
    import asyncio

__all__ = ["NOT_DIRECT", "send_now", "socket_of"]

NOT_DIRECT = -1
PLAIN = (
    "uvloop.loop.TCPTransport",
    "uvloop.loop.UnixTransport",
    "asyncio.selector_events._SelectorSocketTransport",
)

# In pure Python the call would cost as much as the transport does.
send_now: Any = importlib.import_module("trunkline.engine._send").send_now if NATIVE else None


def socket_of(transport: asyncio.Transport) -> int:
    """The descriptor of a transport's socket, or `NOT_DIRECT` where the transport must not be passed by."""
    kind = type(transport)
    if send_now is None or f"{kind.__module__}.{kind.__qualname__}" not in PLAIN:
        return NOT_DIRECT
    descriptor: int = transport.get_extra_info("socket").fileno()
    return descriptor
