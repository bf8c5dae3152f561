"""Detect from asyncio: a few images that matter, beside many that can wait.

python examples/async_detect.py [--url URL]
"""

from __future__ import annotations

import argparse
import asyncio
import time

from triton_yolo import AsyncDetector, ServerBusy
from triton_yolo.boards import draw_board


async def inspect(detector: AsyncDetector, board: object) -> None:
    """Detect with priority 1, which goes first, and with a limit on the time in the server's queue."""
    begin = time.perf_counter()
    try:
        found = await detector.detect(board, priority=1, queue_timeout=5)
    except ServerBusy as error:
        print(f"inspected nothing: {error}")
    else:
        print(f"inspected: {len(found)} defects after {time.perf_counter() - begin:.2f} s")


async def archive(detector: AsyncDetector, boards: list) -> None:
    """Detect on many images with priority 2, the default."""
    begin = time.perf_counter()
    total = sum([len(found) async for found in detector.detect_many(boards, concurrency=8)])
    print(f"archived: {total} defects on {len(boards)} boards after {time.perf_counter() - begin:.2f} s")


async def main(url: str) -> None:
    """Run both at the same time."""
    boards = [draw_board(seed, 640, 480, look="photo").image for seed in range(4)]
    async with AsyncDetector(url) as detector:
        await asyncio.gather(archive(detector, boards * 6), *(inspect(detector, board) for board in boards))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="127.0.0.1:8001", help="HOST:PORT for gRPC, http://HOST:PORT for HTTP")
    asyncio.run(main(parser.parse_args().url))
