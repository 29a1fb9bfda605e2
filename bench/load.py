"""Load for a server, as a program of its own: python -m bench.load URL BODIES CONCURRENCY

BODIES is a file with one request a line. At each line of standard input all of them are sent, so many at once and none
waiting for another's answer; then their number is printed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import aiohttp


async def main(url: str, bodies: list[bytes], concurrency: int) -> None:
    left = iter(bodies)
    done = 0

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal done
        for body in left:
            async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
                json.loads(await answer.read())
                assert answer.status == 200, answer.status
                done += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4)) as session:
        for _ in sys.stdin:
            left, done = iter(bodies), 0
            await asyncio.gather(*(work(session) for _ in range(concurrency)))
            print(done, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]).read_bytes().splitlines(), int(sys.argv[3])))
