"""One message to many connections, beside others: `python -m benchmarks.fanout`."""
