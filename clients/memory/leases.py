"""Leases of slots in a shared file: OFD locks, which the kernel gives back when a process dies (fcntl(2))."""

from __future__ import annotations

import errno
import os
import struct
from weakref import WeakSet

FIRST = 1 << 40  # locks may lie behind the end of a file; there they stand for slots and never for bytes
_FLOCK = struct.Struct("@hhqqi4x")  # struct flock on 64-bit Linux: type, whence, start, len, pid


class Leases:
    """What one open file has leased.

    The locks belong to the open file and end with its last descriptor. So this open file must not be mapped, since a
    map keeps it open for as long as an array lies in it; and a forked process, which inherits the descriptor, closes it
    at once, or else it would keep the leases of a parent that has been killed.

    Attributes:
        file: the descriptor; -1 where it is closed.
    """

    def __init__(self, file: int) -> None:
        """Take over a descriptor.

        Args:
            file: a descriptor that is open for reading and writing, of an open file that nobody else uses.
        """
        import fcntl  # Windows lacks it

        self.file, self._held, self._fcntl = file, set[int](), fcntl
        _OPEN.add(self)

    def acquire(self, number: int, wait: bool = False) -> bool:
        """Take a lease.

        Args:
            number: number of the lease, 0 or more.
            wait: whether to wait for it.

        Returns:
            Whether it was free; False too where this object has it already.
        """
        if number in self._held:  # the kernel would grant it again, and the first release would end both
            return False
        command = self._fcntl.F_OFD_SETLKW if wait else self._fcntl.F_OFD_SETLK
        try:
            self._fcntl.fcntl(self.file, command, _FLOCK.pack(self._fcntl.F_WRLCK, 0, FIRST + number, 1, 0))
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        self._held.add(number)
        return True

    def release(self, number: int) -> None:
        """Give a lease back; one that is not held is fine.

        Args:
            number: number of the lease.
        """
        if number in self._held:
            lock = _FLOCK.pack(self._fcntl.F_UNLCK, 0, FIRST + number, 1, 0)
            self._fcntl.fcntl(self.file, self._fcntl.F_OFD_SETLK, lock)
            self._held.discard(number)

    def holds(self, number: int) -> bool:
        """Return whether this object has a lease.

        Args:
            number: number of the lease.
        """
        return number in self._held

    def is_held_elsewhere(self, number: int) -> bool:
        """Return whether another open file holds a lease.

        Args:
            number: number of the lease.
        """
        lock = _FLOCK.pack(self._fcntl.F_WRLCK, 0, FIRST + number, 1, 0)
        answer = self._fcntl.fcntl(self.file, self._fcntl.F_OFD_GETLK, lock)
        return bool(_FLOCK.unpack(answer)[0] != self._fcntl.F_UNLCK)

    def close(self) -> None:
        """Close the descriptor, which gives all leases back; closing twice is fine."""
        if self.file >= 0:
            os.close(self.file)
        self.file, self._held = -1, set()


_OPEN: WeakSet[Leases] = WeakSet()


def _close_in_child() -> None:
    for leases in list(_OPEN):
        leases.close()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_close_in_child)
