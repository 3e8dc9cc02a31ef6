"""WebSocket servers side by side, over real sockets: `python -m benchmarks.servers`."""
