"""Leases of slots in a shared file: OFD locks, which the kernel gives back when a process dies (fcntl(2))."""

from __future__ import annotations

import errno
import fcntl
import struct

FIRST = 1 << 40  # locks may lie behind the end of a file; there they stand for slots and never for bytes
_FLOCK = struct.Struct("@hhqqi4x")  # struct flock on 64-bit Linux: type, whence, start, len, pid


def acquire(file: int, number: int) -> bool:
    """Take a lease, without waiting.

    A lease belongs to the open file: taking it again through the same descriptor succeeds, and another ``open`` of the
    file, also in the same process, is another owner.

    Args:
        file: descriptor of the file, open for reading and writing.
        number: number of the slot, 0 or more.

    Returns:
        Whether it was free, or this open file's already.
    """
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, 0, FIRST + number, 1, 0))
        return True
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise


def release(file: int, number: int) -> None:
    """Give a lease back; one that is not held is fine.

    Args:
        file: descriptor through which it was taken.
        number: number of the slot.
    """
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_UNLCK, 0, FIRST + number, 1, 0))


def is_held_elsewhere(file: int, number: int) -> bool:
    """Return whether another open file holds a lease.

    Args:
        file: descriptor of the file.
        number: number of the slot.
    """
    answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, _FLOCK.pack(fcntl.F_WRLCK, 0, FIRST + number, 1, 0))
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)
