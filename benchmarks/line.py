"""The proxy that lengthens the line, in a process of its own: its CPU time is nobody's.

    python -m benchmarks.line HOST PORT SECONDS

It prints its port and ends when its input does.
"""

import select
import sys

from dal.testing.proxy import Proxy


def main(host: str, port: int, latency: float) -> None:
    """Pass on connections to `host` and `port` until the input ends."""
    with Proxy(host, port) as proxy:
        proxy.latency = latency
        print(proxy.port, flush=True)
        while not select.select([sys.stdin], [], [], 1.0)[0]:
            proxy.reset()  # it keeps a trace of each connection


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
