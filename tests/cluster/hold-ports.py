"""hold-ports.py FIRST LAST SIZE COUNT: print the first of COUNT free ports and keep other clusters off them.

The ports from FIRST to LAST are blocks of SIZE. While this process lives it holds the first port of a block, which is
no daemon's: no other cluster takes the block then, not even before the daemons have started or while one is down.
"""

import contextlib
import random
import signal
import socket
import sys

first, last, size, count = map(int, sys.argv[1:])
if count >= size:
    sys.exit(f"{count} ports are more than a block has: {size - 1}")
for block in random.sample(blocks := range(first, last, size), len(blocks)):
    with contextlib.ExitStack() as ports, contextlib.suppress(OSError):
        claim = ports.enter_context(socket.socket())
        claim.bind(("127.0.0.1", block))
        for port in range(block + 1, block + 1 + count):
            with socket.socket() as free:
                free.bind(("127.0.0.1", port))
        print(block + 1, flush=True)
        signal.pause()
sys.exit(f"no block of free ports from {first} to {last}")
