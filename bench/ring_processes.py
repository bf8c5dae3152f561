"""The processes of the ring's torture, which bench.ring_torture starts: ``python -m bench.ring_processes KIND ...``.

A writer stops at the end of its stdin. The reader is told in lines on stdin what to do, and answers in lines on stdout.
"""

from __future__ import annotations

import os
import random
import select
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from triton_yolo.clients.memory.ring import Capture, Reader, Reason, Ring, Writer

WORDS = 12_800  # of 8 bytes, behind the head
HEAD = 3  # words: column, number, checksum of the others
NBYTES = 8 * (HEAD + WORDS)
ROWS = 8
ENTRY = struct.Struct("@IIQ")  # of the journal: column, whether the frame was whole, number
LATE_EACH = 50  # of so many numbers one is dropped by the reader, to count that too
Words = npt.NDArray[np.uint64]


def fill(slot: npt.NDArray[np.uint8], base: Words, column: int, number: int) -> None:
    """Write a frame, of which no word is as in any other frame.

    Args:
        slot: slot of the ring, uint8 [NBYTES or more].
        base: random words [WORDS].
        column: column of the slot.
        number: number of the frame.
    """
    words = slot[:NBYTES].view(np.uint64)
    np.add(base, np.uint64((number << 3 | column) * 0x9E3779B97F4A7C15 % (1 << 64)), out=words[HEAD:])
    words[0], words[1] = column, number
    words[2] = zlib.crc32(words[HEAD:].data, zlib.crc32(words[:2].data))


def is_whole(slot: npt.NDArray[np.uint8], capture: Capture) -> bool:
    """Return whether a slot holds the frame that it should, and all of it."""
    words = slot[:NBYTES].view(np.uint64)
    checksum = zlib.crc32(words[HEAD:].data, zlib.crc32(words[:2].data))
    sizes = (capture.nbytes, capture.height, capture.width, capture.format)
    return (
        (int(words[0]), int(words[1]), int(words[2])) == (capture.column, capture.number, checksum)
        and sizes == (NBYTES, capture.number % 1000, 1, capture.column)
        and capture.monotonic_ns == capture.wall_ns
    )


def write(path: Path, column: int, ready: int, freed: int, seed: int) -> None:
    """Write frames until stdin ends: as fast as slots become free, or at random times over what nobody has taken.

    Args:
        path: path of the ring.
        column: column to write to.
        ready: eventfd that tells of frames.
        freed: eventfd that tells of freed slots; -1 where the newest frame wins.
        seed: seed of everything that is random.
    """
    draw = random.Random(seed)
    base = np.random.default_rng(seed).integers(0, 1 << 63, WORDS, np.uint64)
    poll = select.poll()
    poll.register(0, select.POLLIN)
    with Ring.open(path) as ring:
        writer = Writer(ring, column, ready, None if freed < 0 else freed, draw.randrange(ROWS))
        while not poll.poll(0 if freed >= 0 or draw.random() < 0.5 else 1):
            if freed >= 0 and not writer.wait(0.1):
                continue
            _write_one(ring, writer, column, base, draw.random())
        writer.close()


def _write_one(ring: Ring, writer: Writer, column: int, base: Words, chance: float) -> None:
    moment = int(chance * 1e9)
    if chance < 0.01:
        writer.miss(Reason.SOURCE_LOST)
        return
    if chance < 0.1:  # as a driver does
        row = writer.reserve()
        if row is None:
            return
        ring.slot(row, column)[:] = 0xFF
        if chance < 0.02:
            writer.unreserve(row)
            return
        capture: Capture | None = writer.begin_in(row, moment, moment)
    else:
        capture = writer.begin(moment, moment)
    if capture is None:
        return
    fill(writer.pixels(capture), base, column, capture.number)
    if chance > 0.99:
        writer.abandon(capture, Reason.REFUSED)
    else:
        writer.publish(capture, NBYTES, capture.number % 1000, 1, column)


def read(path: Path, ready: int, freed: list[int], journal: Path) -> None:
    """Read frames, journal their numbers, and recover columns, until told to stop.

    Args:
        path: path of the ring.
        ready: eventfd that tells of frames.
        freed: eventfds of the columns.
        journal: file that entries are appended to, each with one write and before its frame is released.
    """
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(ready, select.POLLIN)
    file = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with Ring.open(path) as ring:
        reader = Reader(ring, dict(enumerate(freed)))
        while True:
            taken = [capture for capture in reader.ready() if reader.take(capture)]
            for capture in taken:
                if capture.number % LATE_EACH == 0:
                    reader.release(capture, Reason.LATE)
                    continue
                whole = is_whole(ring.slot(capture.row, capture.column), capture)
                os.write(file, ENTRY.pack(capture.column, whole, capture.number))
                reader.release(capture)
            for told, _ in [] if taken else poll.poll():
                if told == ready:
                    os.eventfd_read(ready)
                    continue
                word, *columns = sys.stdin.readline().split()  # one is on its way at a time, so none waits in a buffer
                if word == "stop":
                    reader.close()
                    return
                sys.stdout.write(f"{ring.recover(int(columns[0]))}\n")
                sys.stdout.flush()


def main(kind: str, path: str, *arguments: str) -> None:
    """Run one process."""
    if kind == "writer":
        column, ready, freed, seed = map(int, arguments)
        write(Path(path), column, ready, freed, seed)
    else:
        journal, ready_file, *freed_files = arguments
        read(Path(path), int(ready_file), [int(file) for file in freed_files], Path(journal))


if __name__ == "__main__":
    main(*sys.argv[1:])
