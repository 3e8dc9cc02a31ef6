"""Connections opened and dropped at random, and what a server holds meanwhile: `python -m benchmarks.soak`."""
