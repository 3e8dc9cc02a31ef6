"""Open and drop connections at random against a real server, and print what it holds over time.

    scripts/bench soak                          ten minutes
    scripts/bench soak --seconds 36000          ten hours
    scripts/bench soak --connections 10000 --loop asyncio --seed 7
    scripts/bench soak --seconds 600 --tls

Each line counts what the server process holds at that moment: open WebSockets, tasks, timers that will run, file
descriptors, objects that the garbage collector knows, resident memory. At the end all clients are gone, and the last
line has to be like the first; the exit code is 1 if something was left, hung, or logged as an error.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time

from benchmarks.soak.run import Soak, serving, settled


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench soak", description="Connections opened and dropped at random.")
    parser.add_argument("--seconds", type=float, default=600, help="how long (600)")
    parser.add_argument("--connections", type=int, help="how many instead")
    parser.add_argument("--at-once", type=int, default=100, help="open at the same time (100)")
    parser.add_argument("--every", type=float, default=10, help="seconds from line to line (10)")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop", help="the server's (uvloop)")
    parser.add_argument("--tls", action="store_true", help="over TLS, with a certificate that openssl makes")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="to see the same again")
    return parser.parse_args()


def _line(seconds: float, opened: int, facts: dict[str, int]) -> None:
    counts = "".join(f"{facts[name]:>13,}" for name in ("connections", "tasks", "timers", "files", "objects"))
    print(f"{seconds:>8.0f} s{opened:>12,}{counts}{facts['resident'] / (1 << 20):>11.1f} MiB", flush=True)


async def _watch(soak: Soak, every: float) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(every)
        _line(time.monotonic() - began, soak.opened, await asyncio.to_thread(soak.server.facts))


async def _soak(soak: Soak, options: argparse.Namespace) -> None:
    watching = asyncio.create_task(_watch(soak, options.every))
    if options.connections is None:
        await soak.run(seconds=options.seconds, at_once=options.at_once)
    else:
        await soak.run(connections=options.connections, at_once=options.at_once)
    watching.cancel()


def main() -> int:
    options = _options()
    print(f"seed {options.seed}, {options.loop}{', TLS' if options.tls else ''}")
    print(f"{'':>10}{'opened':>12}{'open':>13}{'tasks':>13}{'timers':>13}{'files':>13}{'objects':>13}{'memory':>15}")
    with serving(options.loop, tls=options.tls) as server:
        before = server.facts()
        _line(0, 0, before)
        soak = Soak(server, options.seed)
        began = time.monotonic()
        asyncio.run(_soak(soak, options))
        after = settled(server, before)
        _line(time.monotonic() - began, soak.opened, after)
    print("behaviours: " + ", ".join(f"{name} {count:,}" for name, count in sorted(soak.behaved.items())))
    left = {name: after[name] - before[name] for name in ("connections", "tasks", "timers", "files")}
    wrong = [f"{count} more {name}" for name, count in left.items() if count > 0]
    wrong += [f"{count} hung: {name}" for name, count in soak.hung.items()] + after["errors"]
    print("\n".join(wrong) or "nothing is left, nothing hung, no error was logged")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
