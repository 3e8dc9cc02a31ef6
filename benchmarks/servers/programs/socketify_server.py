# The benchmark installs what this imports.
# mypy: ignore-errors
"""python socketify_server.py PORT"""

from __future__ import annotations

import sys

from socketify import App, CompressOptions

app = App()
OPTIONS = {
    "compression": CompressOptions.SHARED_COMPRESSOR,
    "max_payload_length": 16 * 1024 * 1024,
    "max_backpressure": 64 * 1024 * 1024,
}
app.ws(
    "/room",
    {
        **OPTIONS,
        "open": lambda websocket: websocket.subscribe("room"),
        "message": lambda websocket, message, opcode: app.publish("room", message, opcode),
    },
)
app.ws(
    "/*",
    {**OPTIONS, "message": lambda websocket, message, opcode: websocket.send(message, opcode, True)},
)
app.listen({"host": "127.0.0.1", "port": int(sys.argv[1])}, lambda config: None)
app.run()
