"""What a server needs of the system: files and connections, memory that is shared, room for its own files."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

from triton_yolo.server.errors import ServerError

SHARED_MEMORY = Path("/dev/shm")
FILES = 65_536  # of a server: each connection is one, and what comes beyond is tried again without a pause (24.10)
LEAST_FILES = 256  # a server that nobody asks has 60
# Bytes. The Python backend begins with 1 MB for each model, and grows with the requests; a request whose answer has no
# room there is never answered.
LEAST_SHARED_MEMORY = 32 << 20


def allow_files() -> None:
    """Let this process have as many files and connections as it may, up to FILES (getrlimit(2)); 1,024 are usual."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def check_limits() -> None:
    """Refuse a place in which a server would start and then hang.

    Raises:
        ServerError: says what is too little, and how to get more.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < LEAST_FILES:
        raise ServerError(
            f"a server needs {LEAST_FILES} open files and one for each connection, and the hard limit here is {hard}: "
            "raise it (ulimit -Hn, LimitNOFILE of systemd, --ulimit of Docker)"
        )
    there = os.statvfs(SHARED_MEMORY)
    if (free := there.f_bavail * there.f_frsize) < LEAST_SHARED_MEMORY:
        raise ServerError(
            f"a server needs {LEAST_SHARED_MEMORY >> 20} MB in {SHARED_MEMORY}, and {free >> 20} MB are free there: "
            "remove what lies there, or make it larger (Docker: --shm-size)"
        )


def address_space() -> str:
    """Return what to say of a server that ended where memory is limited by ``ulimit -v``; nothing where it is not."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return ""
    return f" (ulimit -v leaves each of its processes {limit / (1 << 30):.1f} GiB of addresses, which may be too few)"


def unwritable(error: OSError, folder: Path) -> ServerError:
    """Return what to say where the server's own files cannot be written.

    Args:
        error: that came of it.
        folder: where they are.
    """
    why = error.args[0][0][2] if isinstance(error, shutil.Error) else error.strerror or str(error)
    return ServerError(
        f"cannot prepare the server's files in {folder}: {why}; make room there, or set TMPDIR to another folder"
    )
