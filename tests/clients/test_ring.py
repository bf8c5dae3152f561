"""The ring of slots in shared memory: its file, its leases, and what becomes of frames."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.memory import ring as module
from triton_yolo.clients.memory.leases import Leases
from triton_yolo.clients.memory.ring import Capture, Reader, Reason, Ring, State, Writer, clear_leftovers

NAME = f"test-{os.getpid()}"
ROWS, NBYTES = 5, 1000


@pytest.fixture
def ring() -> Iterator[Ring]:
    """Two columns of five slots, with the lease of the owner."""
    with Ring.create(NAME, ROWS, 2, NBYTES) as ring:
        yield ring


@pytest.fixture
def ready() -> Iterator[int]:
    """Eventfd that tells of frames."""
    file = os.eventfd(0, os.EFD_NONBLOCK)
    yield file
    os.close(file)


@pytest.fixture
def freed() -> Iterator[int]:
    """Eventfd that tells of freed slots."""
    file = os.eventfd(0, os.EFD_NONBLOCK)
    yield file
    os.close(file)


@pytest.fixture
def elsewhere(ring: Ring) -> Iterator[Callable[[], Ring]]:
    """Opens the ring as other processes do."""
    opened = list[Ring]()

    def again() -> Ring:
        opened.append(Ring.open(ring.path))
        return opened[-1]

    yield again
    for one in opened:
        one.close()


@pytest.fixture
def writer(elsewhere: Callable[[], Ring], ready: int) -> Writer:
    """Of column 0."""
    return Writer(elsewhere(), 0, ready)


def put(writer: Writer) -> Capture | None:
    """Write a frame full of its number, and return it as it was begun."""
    capture = writer.begin(1, 2)
    if capture:
        writer.pixels(capture)[:] = capture.number % 256
        writer.publish(capture, NBYTES, 10, 100, 3)
    return capture


def numbers(captures: list[Capture]) -> list[int]:
    return [capture.number for capture in captures]


def descriptors() -> set[tuple[str, str]]:
    """Return what is open, by number and name."""
    folder = Path("/proc/self/fd")
    return {(file, os.readlink(folder / file)) for file in os.listdir(folder) if (folder / file).is_symlink()}


def states(ring: Ring, column: int = 0) -> list[State]:
    return [State(state) for state in ring.states(column).tolist()]


# The file


@pytest.mark.parametrize("name", ["", "a/b", "../a", "a b", "a\n", "größe", "x" * 101])
def test_a_name_that_is_no_name_of_a_line_is_refused(name: str) -> None:
    with pytest.raises(DetectionError, match="is no name of a line"):
        Ring.create(name, 1, 1, 1)


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_a_ring_without_slots_is_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(DetectionError, match="needs rows, columns and bytes of 1 or more"):
        Ring.create(NAME, *sizes)


def test_more_slots_than_there_are_leases_are_refused() -> None:
    with pytest.raises(DetectionError, match="are too many"):
        Ring.create(NAME, 1 << 19, 2, 1)


def test_the_file_bears_the_names_of_line_and_user_and_is_theirs_alone(ring: Ring) -> None:
    status = ring.path.stat()
    assert ring.path == Path("/dev/shm", f"triton-yolo-ring-{os.getuid()}-{NAME}")
    assert ring.name == ring.path.name
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_nlink == 1


def test_all_of_the_memory_is_there_from_the_start(ring: Ring) -> None:
    status = ring.path.stat()
    assert status.st_size == ring.nbytes
    assert status.st_blocks * 512 >= ring.nbytes


def test_slots_begin_at_pages_and_do_not_overlap(ring: Ring) -> None:
    offsets = [ring.offset(row, column) for row in range(ROWS) for column in range(2)]
    assert all(offset % mmap.PAGESIZE == 0 for offset in offsets)
    assert np.diff(offsets).tolist() == [ring.stride] * (2 * ROWS - 1)
    assert offsets[-1] + ring.stride == ring.nbytes
    assert ring.stride == mmap.PAGESIZE
    assert ring.slot(ROWS - 1, 1).ctypes.data % mmap.PAGESIZE == 0


def test_frames_of_one_row_are_one_tensor(ready: int) -> None:
    """Where a frame fills its pages, which those of 1280x960 do in every format."""
    size, columns = 3 * mmap.PAGESIZE, 3
    with Ring.create(NAME, 2, columns, size) as ring:
        rings = [Ring.open(ring.path) for _ in range(columns)]
        writers = [Writer(one, column, ready, row=1) for column, one in enumerate(rings)]
        frames = np.random.default_rng(0).integers(0, 256, (columns, 48, 64, 4), np.uint8)
        for writer, frame in zip(writers, frames, strict=True):
            capture = writer.begin(0, 0)
            assert capture and capture.row == 1
            writer.pixels(capture)[:] = frame.reshape(-1)
            writer.publish(capture, size, 48, 64, 0)
        first, *others = Reader(ring).ready()
        assert [(c.row, c.column) for c in (first, *others)] == [(1, 0), (1, 1), (1, 2)]
        tensor = ring.tensor(first, (columns, 48, 64, 4))
        assert (tensor.region, tensor.shape) == (ring.name, (columns, 48, 64, 4))
        with open(ring.path, "rb") as file:  # as the server reads it
            file.seek(tensor.offset)
            served = np.frombuffer(file.read(tensor.byte_size), np.uint8).reshape(tensor.shape)
        np.testing.assert_array_equal(served, frames)
        for one in rings:
            one.close()


def test_a_name_in_use_is_refused(ring: Ring) -> None:
    with pytest.raises(DetectionError, match="is in use: a line of this name runs already"):
        Ring.create(NAME, 1, 1, 1)
    assert ring.path.exists()


def test_a_leftover_of_a_dead_owner_is_replaced() -> None:
    old = Ring.create(NAME, 1, 1, 1)
    old.leases.close()  # as the kernel does
    with Ring.create(NAME, 2, 1, 1) as ring:
        assert os.stat(ring.path).st_ino == os.fstat(ring.leases.file).st_ino
        assert Ring.open(ring.path).rows == 2
    assert not ring.path.exists()


def test_leftovers_are_cleared_and_rings_of_the_living_are_not(ring: Ring) -> None:
    dead = Ring.create(f"{NAME}-dead", 1, 1, 1)
    dead.leases.close()
    assert dead.path in clear_leftovers()
    assert not dead.path.exists()
    assert ring.path.exists()


def test_a_leftover_that_was_replaced_meanwhile_is_not_removed(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process opens the leftover, and another one replaces it before the first one has the lease."""
    dead = Ring.create(f"{NAME}-dead", 1, 1, 1)
    dead.leases.close()
    late, replaced = module._open(dead.path), Ring.create(f"{NAME}-dead", 1, 1, 1)
    monkeypatch.setattr(module, "_open", lambda path: late)
    module.remove_leftover(dead.path)
    assert replaced.path.exists()
    replaced.close()


def test_a_process_that_clears_leftovers_is_not_taken_for_their_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes second waits for the end of the first one's removal, and asks for the owner then."""
    dead = Ring.create(NAME, 1, 1, 1)
    dead.leases.close()
    clearing = module._open(dead.path)
    assert clearing
    clearing.acquire(module.REMOVAL_LEASE)
    clearing.acquire(module.OWNER_LEASE)
    asked, acquire, too_early = threading.Event(), Leases.acquire, []

    def ask(leases: Leases, number: int, wait: bool = False) -> bool:
        if number == module.OWNER_LEASE and clearing.file >= 0:
            too_early.append(number)
        asked.set()
        return acquire(leases, number, wait)

    monkeypatch.setattr(Leases, "acquire", ask)
    thread = threading.Thread(target=lambda: Ring.create(NAME, 1, 1, 1).close())
    thread.start()
    asked.wait()
    clearing.close()
    thread.join()
    assert not too_early
    Ring.create(NAME, 1, 1, 1).close()
    assert not dead.path.exists()


def test_closing_removes_no_file_that_another_process_has_put_there(ring: Ring) -> None:
    ring.path.unlink()
    ring.path.write_bytes(b"")
    ring.close()
    assert ring.path.exists()
    ring.path.unlink()


def test_no_descriptor_is_left(ready: int) -> None:
    before = descriptors()
    for _ in range(3):
        with Ring.create(NAME, ROWS, 1, NBYTES) as ring, Ring.open(ring.path) as again:
            put(Writer(again, 0, ready))
            with pytest.raises(DetectionError):
                Ring.create(NAME, 1, 1, 1)
    with pytest.raises(DetectionError):
        Ring.open(ring.path)
    del ring, again
    assert descriptors() <= before


@pytest.mark.parametrize("content", [b"", b"something else"])
def test_a_file_that_is_no_ring_is_not_opened(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DetectionError, match="is no ring of this version"):
        Ring.open(path)


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_what_is_no_file_is_neither_opened_nor_replaced(kind: str) -> None:
    path = module.FOLDER / f"{module.PREFIX}{os.getuid()}-{NAME}"
    if kind == "link":
        path.symlink_to("/dev/null")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    try:
        for use in (lambda: Ring.open(path), lambda: Ring.create(NAME, 1, 1, 1)):
            with pytest.raises(DetectionError, match=r"cannot open|is no file"):
                use()
        assert path.lstat()
    finally:
        path.rmdir() if kind == "folder" else path.unlink()


def root_alone() -> None:
    if os.getuid():
        pytest.skip("needs root, to be another user too")


def test_a_file_of_another_user_is_neither_opened_nor_replaced(ring: Ring) -> None:
    root_alone()
    os.chown(ring.path, 65534, 65534)
    for use in (lambda: Ring.open(ring.path), lambda: Ring.create(NAME, 1, 1, 1)):
        with pytest.raises(
            DetectionError, match=r"belongs to another user \(number 65534\): remove it, or use another"
        ):
            use()
    assert ring.path.exists()


def run(code: str, *before: str) -> subprocess.CompletedProcess[str]:
    lines = f"import os, sys\nfrom pathlib import Path\nfrom triton_yolo.clients.memory import ring\n{code}"
    command = [*before, sys.executable, "-c", lines]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_another_user_cannot_open_a_ring(ring: Ring) -> None:
    root_alone()
    ended = run(f"os.setuid(65534)\nring.Ring.open(Path({str(ring.path)!r}))")
    assert ended.returncode
    assert "cannot open the ring" in ended.stderr and "Permission denied" in ended.stderr


def in_mount(options: str, code: str, folder: Path) -> str:
    """Run code whose FOLDER is a tmpfs that nobody else sees, and return what it says."""
    root_alone()
    if not shutil.which("unshare"):
        pytest.skip("needs unshare")
    mount = (
        f"import subprocess\nif subprocess.run(['mount', '-t', 'tmpfs', '-o', {options!r}, 'none', {str(folder)!r}], "
    )
    mount += f"capture_output=True).returncode: sys.exit(77)\nring.FOLDER = Path({str(folder)!r})\n"
    ended = run(mount + code, "unshare", "--mount", "--propagation", "private")
    if ended.returncode == 77 or "unshare failed" in ended.stderr:
        pytest.skip(f"cannot mount a tmpfs with {options}")
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("huge", [False, True])
def test_a_full_memory_is_an_error_at_the_start_and_leaves_nothing(huge: bool, tmp_path: Path) -> None:
    code = f"""
try:
    ring.Ring.create("full", 4, 1, 1 << 20, {huge})
except ring.DetectionError as error:
    print(error, os.listdir(ring.FOLDER), os.statvfs(ring.FOLDER).f_bfree * 4096)
ring.Ring.create("fits", 2, 1, 1 << 18).close()
"""
    said = in_mount("size=2m" + ",huge=advise" * huge, code, tmp_path)
    assert "no room for a ring of" in said and "No space left on device" in said and "(Docker: shm_size)" in said
    assert said.endswith(f"[] {2 << 20}\n")


def test_the_room_of_a_leftover_is_there_for_its_successor(tmp_path: Path) -> None:
    code = """
for _ in range(2):
    made = ring.Ring.create("large", 1, 1, 3 << 19)
    made.leases.close()
    del made  # as a death does
print(os.listdir(ring.FOLDER))
"""
    assert "triton-yolo-ring-0-large" in in_mount("size=2m", code, tmp_path)


def test_huge_pages_are_used_where_the_system_allows_them(tmp_path: Path) -> None:
    code = """
made = ring.Ring.create("huge", 2, 2, 2 << 20, True)
assert made.offset(0, 0) % ring.HUGE_PAGE == 0
for row in range(2):
    made.slot(row, 0)[:] = 1
    made.slot(row, 1)[:] = 1
print(ring.huge_bytes(made))
"""
    found = int(in_mount("size=64m,huge=advise", code, tmp_path))
    if not found:
        pytest.skip("the kernel has no huge page for a tmpfs")
    assert found >= 8 << 20


def test_a_ring_that_asks_for_huge_pages_is_made_where_there_are_none() -> None:
    with Ring.create(NAME, 1, 1, 1, huge_pages=True) as ring:
        assert ring.offset(0, 0) % module.HUGE_PAGE == 0
        assert module.huge_bytes(ring) >= 0


# Leases


def test_a_lease_is_not_taken_twice_through_one_descriptor(ring: Ring) -> None:
    assert ring.leases.acquire(7)
    assert not ring.leases.acquire(7)
    again = Leases(os.open(ring.path, os.O_RDWR))
    assert not again.acquire(7)
    assert again.is_held_elsewhere(7) and not ring.leases.is_held_elsewhere(7)
    again.release(7)  # not its own
    assert again.is_held_elsewhere(7)
    ring.leases.release(7)
    assert again.acquire(7)
    again.close()
    assert ring.leases.acquire(7)


def test_leases_without_memory_for_locks_are_an_error(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fcntl:
        F_OFD_SETLK = F_WRLCK = 0

        def fcntl(self, *_: object) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(ring.leases, "_fcntl", Fcntl())
    with pytest.raises(OSError, match="No locks"):
        ring.leases.acquire(3)


def test_arrays_that_outlive_the_ring_hold_no_lease(
    ring: Ring, elsewhere: Callable[[], Ring], ready: int, freed: int
) -> None:
    first = elsewhere()
    writer = Writer(first, 0, ready)
    capture = writer.begin(0, 0)
    assert capture
    pixels = writer.pixels(capture)
    first.close()
    assert ring.recover(0) == 1
    Writer(elsewhere(), 0, ready)
    pixels[:] = 1  # the memory is still there
    first.close()  # twice
    writer.close()


def test_a_forked_process_does_not_keep_the_leases_of_a_parent_that_is_killed(ring: Ring, ready: int) -> None:
    """The child of the child lives until the pipe is closed."""
    code = f"""
ring_ = ring.Ring.open(Path({str(ring.path)!r}))
reader, writer = ring.Reader(ring_), ring.Writer(ring_, 0, {ready})
read, write = os.pipe()
if os.fork() == 0:
    os.close(write)
    os.close(1)
    os.write({ready}, (1).to_bytes(8, "little"))
    os.read(0, 1)
    os._exit(0)
os.close(read)
os.kill(os.getpid(), 9)
"""
    os.set_inheritable(ready, True)
    command = [
        sys.executable,
        "-c",
        f"import os\nfrom pathlib import Path\nfrom triton_yolo.clients.memory import ring\n{code}",
    ]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, pass_fds=[ready]) as process:
        assert process.wait() == -9
        os.set_blocking(ready, True)
        os.eventfd_read(ready)  # the child has come so far, and goes on
        Reader(ring).close()
        assert ring.recover(0) == 0


# Frames


def test_a_frame_arrives_as_it_was_written(ring: Ring, writer: Writer, ready: int) -> None:
    capture = writer.begin(11, 22)
    assert capture == Capture(0, 0, 0, 11, 22, 0, 0, 0, 0)
    assert states(ring)[0] == State.WRITING
    reader = Reader(ring)
    assert reader.ready() == []
    writer.pixels(capture)[:3] = (7, 8, 9)
    writer.publish(capture, 3, 1, 2, 4)
    assert os.eventfd_read(ready) == 1
    (found,) = reader.ready()
    assert found == Capture(0, 0, 0, 11, 22, 3, 1, 2, 4)
    assert reader.take(found)
    assert reader.ready() == []
    assert ring.slot(found.row, found.column)[:3].tolist() == [7, 8, 9]
    assert ring.counts(0) == (1, 0, {}, 1)
    reader.release(found)
    assert ring.counts(0) == (1, 1, {}, 0)
    assert states(ring) == [State.FREE] * ROWS


def test_each_frame_is_told_once_and_after_it_can_be_taken(
    ring: Ring, writer: Writer, ready: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader(ring)
    taken = []

    def tell(file: int, count: int) -> None:
        taken.append((file, count, reader.take(reader.ready()[-1])))

    monkeypatch.setattr(os, "eventfd_write", tell)
    put(writer)
    put(writer)
    assert taken == [(ready, 1, True)] * 2


def test_ready_frames_come_by_column_and_number(ring: Ring, elsewhere: Callable[[], Ring], ready: int) -> None:
    writers = [Writer(elsewhere(), column, ready, row=3) for column in (0, 1)]
    for _ in range(3):
        for writer in reversed(writers):
            put(writer)
    found = Reader(ring).ready()
    assert [(capture.column, capture.number) for capture in found] == [(c, n) for c in (0, 1) for n in range(3)]
    assert [capture.row for capture in found] == [3, 4, 0] * 2


def test_the_newest_wins_where_the_ring_is_full_and_what_is_lost_is_counted(ring: Ring, writer: Writer) -> None:
    for _ in range(ROWS + 3):
        assert put(writer)
    assert numbers(Reader(ring).ready()) == list(range(3, ROWS + 3))
    assert ring.counts(0) == (ROWS + 3, 0, {Reason.RING_FULL: 3}, ROWS)


def test_a_frame_is_dropped_where_the_reader_holds_everything(ready: int) -> None:
    with Ring.create(NAME, 1, 1, 1) as ring, Ring.open(ring.path) as again:
        reader, writer = Reader(ring), Writer(again, 0, ready)
        capture = writer.begin(0, 0)
        assert capture
        writer.publish(capture, 1, 1, 1, 0)
        (found,) = reader.ready()
        assert reader.take(found)
        assert writer.begin(0, 0) is None
        assert writer.reserve() is None
        assert ring.counts(0) == (2, 0, {Reason.RING_FULL: 1}, 1)


def test_the_reader_leaves_two_slots_to_the_writer(ring: Ring, writer: Writer) -> None:
    reader = Reader(ring)
    for _ in range(ROWS):
        put(writer)
    found = reader.ready()
    assert [reader.take(capture) for capture in found] == [True] * (ROWS - 2) + [False] * 2
    reader.release(found[0])
    assert reader.take(found[-1])
    for _ in range(4):
        assert put(writer), "two slots are enough to go on"
    assert ring.counts(0).missing == 0


def test_a_frame_that_was_overwritten_cannot_be_taken(ring: Ring, writer: Writer) -> None:
    reader = Reader(ring)
    for _ in range(ROWS):
        put(writer)
    old = reader.ready()[0]
    put(writer)
    assert not reader.take(old)
    assert numbers(reader.ready()) == list(range(1, ROWS + 1))
    assert ring.counts(0).missing == 0


@pytest.mark.parametrize("field", Capture._fields[2:])
def test_a_frame_whose_record_changed_while_it_was_read_cannot_be_taken(field: str, ring: Ring, writer: Writer) -> None:
    """As when a slot gets another frame between two words of its record."""
    reader = Reader(ring)
    put(writer)
    (found,) = reader.ready()
    assert not reader.take(found._replace(**{field: 77}))
    assert reader.take(found)


def test_a_frame_that_is_being_handed_over_cannot_be_taken_yet(
    ring: Ring, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, seen = Reader(ring), []
    let_go = writer._let_go

    def look(row: int) -> None:
        seen.extend(reader.take(capture) for capture in reader.ready())
        let_go(row)

    monkeypatch.setattr(writer, "_let_go", look)
    put(writer)
    assert seen == [False]
    assert reader.take(reader.ready()[0])


def test_a_frame_is_taken_and_released_once(ring: Ring, writer: Writer) -> None:
    reader = Reader(ring)
    put(writer)
    (found,) = reader.ready()
    assert reader.take(found)
    assert not reader.take(found)
    assert writer._ring.leases.is_held_elsewhere(0), "the second attempt has given the lease back"
    reader.release(found)
    with pytest.raises(ValueError, match="is not taken"):
        reader.release(found)
    assert ring.counts(0) == (1, 1, {}, 0)


def test_a_frame_is_published_or_abandoned_once(ring: Ring, writer: Writer) -> None:
    capture = writer.begin(0, 0)
    assert capture
    with pytest.raises(ValueError, match="bytes in a slot of"):
        writer.publish(capture, ring.stride + 1, 1, 1, 0)
    writer.abandon(capture, Reason.REFUSED)
    with pytest.raises(ValueError, match="is not writing"):
        writer.publish(capture, 1, 1, 1, 0)
    with pytest.raises(ValueError, match="is not writing"):
        writer.abandon(capture, Reason.REFUSED)
    with pytest.raises(ValueError, match="is not reserved"):
        writer.begin_in(0, 0, 0)
    assert ring.counts(0) == (1, 0, {Reason.REFUSED: 1}, 0)


def test_each_reason_is_counted_by_both_sides(ring: Ring, writer: Writer) -> None:
    reader = Reader(ring)
    for reason in Reason:
        writer.miss(reason)
        put(writer)
        (found,) = reader.ready()
        assert reader.take(found)
        reader.release(found, reason)
    assert ring.counts(0) == (2 * len(Reason), 0, dict.fromkeys(Reason, 2), 0)
    assert ring.counts(1) == (0, 0, {}, 0)


def test_a_driver_writes_into_reserved_slots(ring: Ring, writer: Writer) -> None:
    reader = Reader(ring)
    rows = [writer.reserve() for _ in range(ROWS + 1)]
    assert rows == [0, 1, 2, 3, 4, None]
    assert ring.counts(0).captured == 0
    writer.unreserve(4)
    capture = writer.begin_in(2, 5, 6)
    assert capture == Capture(0, 2, 0, 5, 6, 0, 0, 0, 0)
    writer.publish(capture, 1, 1, 1, 0)
    assert ring.counts(0) == (1, 0, {}, 1)
    assert numbers(reader.ready()) == [0]
    writer.close()
    assert states(ring) == [State.FREE, State.FREE, State.READY, State.FREE, State.FREE]


# The policy that waits


def test_a_writer_that_waits_overwrites_nothing(
    ring: Ring, elsewhere: Callable[[], Ring], ready: int, freed: int
) -> None:
    writer, reader = Writer(elsewhere(), 0, ready, freed), Reader(ring, {0: freed})
    for _ in range(ROWS):
        assert writer.wait(0)
        put(writer)
    assert not writer.wait(0)
    assert writer.begin(0, 0) is None, "it was not to begin"
    assert numbers(reader.ready()) == list(range(ROWS))
    found = reader.ready()[2]
    assert reader.take(found)
    reader.release(found)
    assert writer.wait(None)
    assert put(writer).row == 2


def test_a_slot_whose_lease_is_not_yet_given_back_is_not_free(
    ring: Ring, elsewhere: Callable[[], Ring], ready: int, freed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = Writer(elsewhere(), 0, ready, freed), Reader(ring, {0: freed})
    for _ in range(ROWS):
        put(writer)
    found, release, waits = reader.ready()[0], ring.leases.release, []

    def look(number: int) -> None:
        waits.append(writer.wait(0))
        release(number)

    assert reader.take(found)
    monkeypatch.setattr(ring.leases, "release", look)
    reader.release(found)
    assert waits == [False]
    assert writer.wait(None)
    assert put(writer)


def test_a_writer_is_woken_by_the_reader_and_nothing_is_lost(
    ring: Ring, elsewhere: Callable[[], Ring], ready: int, freed: int
) -> None:
    """It waits without a timeout: only the eventfd lets it go on."""
    frames, own = 300, elsewhere()

    def capture() -> None:
        writer = Writer(own, 0, ready, freed)
        for _ in range(frames):
            assert writer.wait()
            assert put(writer)
        writer.close()

    thread = threading.Thread(target=capture, daemon=True)
    reader, found = Reader(ring, {0: freed}), []
    os.set_blocking(ready, True)
    thread.start()
    while len(found) < frames:
        os.eventfd_read(ready)
        for one in reader.ready():
            if not reader.take(one):  # it is being handed over, and told of when it can be taken
                continue
            assert (ring.slot(one.row, 0)[:NBYTES] == one.number % 256).all()
            found.append(one.number)
            reader.release(one)
    thread.join()
    assert found == list(range(frames))
    assert ring.counts(0) == (frames, frames, {}, 0)


def test_a_waiting_writer_is_told_of_what_a_new_reader_frees(
    ring: Ring, elsewhere: Callable[[], Ring], ready: int, freed: int
) -> None:
    writer, first = Writer(elsewhere(), 0, ready, freed), Reader(elsewhere(), {0: freed})
    for _ in range(ROWS):
        put(writer)
    assert first.take(first.ready()[0])
    assert not writer.wait(0)
    first.ring.leases.close()  # as the kernel does
    Reader(ring, {0: freed})
    assert os.eventfd_read(freed) == 1
    assert writer.wait(0)


# Deaths, of which tests/support/ring_steps.py tries all moments


def die(ring: Ring) -> None:
    """Leave a ring as a process that is killed does."""
    ring.leases.close()


@pytest.mark.parametrize("phase", ["reserved", "written", "ready", "counted"])
def test_what_a_dead_writer_had_is_counted_and_its_column_goes_on(
    phase: str, ring: Ring, elsewhere: Callable[[], Ring], ready: int
) -> None:
    writer, reader = Writer(elsewhere(), 0, ready), Reader(ring)
    put(writer)
    if phase == "reserved":
        writer.reserve()
    elif phase == "written":
        writer.begin(0, 0)
    elif phase == "counted":  # the number is given, and there is no slot yet
        writer._change.__enter__()
        writer._account[module.CAPTURED] += 1
    with pytest.raises(DetectionError, match="has a writer"):
        ring.recover(0)
    die(writer._ring)
    if phase == "counted":
        with pytest.raises(TimeoutError, match="in the middle of a change"):
            ring.counts(0)
    if phase != "ready":
        again = elsewhere()
        with pytest.raises(DetectionError, match="had a writer that died: recover it first"):
            Writer(again, 0, ready)
        assert not again.has_writer(0) and not ring.has_writer(0), "who was refused keeps nothing"
    lost = int(phase in ("written", "counted"))
    assert ring.recover(0) == lost
    assert ring.recover(0) == 0
    assert ring.counts(0) == (1 + lost, 0, {Reason.SOURCE_LOST: 1} if lost else {}, 1)
    assert numbers(reader.ready()) == [0]
    following = put(Writer(elsewhere(), 0, ready))
    assert following and following.number == 1 + lost


def test_what_a_dead_reader_had_is_counted_by_the_next_one_and_its_slots_are_used_meanwhile(
    ring: Ring, elsewhere: Callable[[], Ring], writer: Writer
) -> None:
    first = Reader(elsewhere())
    for _ in range(ROWS):
        put(writer)
    for capture in first.ready()[:3]:
        assert first.take(capture)
    with pytest.raises(DetectionError, match="has a reader already"):
        Reader(ring)
    die(first.ring)
    for _ in range(2):
        assert put(writer)
    assert ring.counts(0) == (ROWS + 2, 0, {}, ROWS), "a slot of the dead one goes before a frame that waits"
    reader = Reader(ring)
    assert ring.counts(0) == (ROWS + 2, 0, {Reason.CONSUMER_LOST: 3}, ROWS - 1)
    assert numbers(reader.ready()) == [3, 4, 5, 6]
    assert states(ring).count(State.FREE) == 1


def test_a_reader_that_dies_between_slot_and_count_loses_one_frame(
    ring: Ring, elsewhere: Callable[[], Ring], writer: Writer
) -> None:
    put(writer)
    first = Reader(elsewhere())
    assert first.take(first.ready()[0])
    first._states[0] = State.FREE
    die(first.ring)
    assert ring.counts(0).missing == 1
    Reader(ring)
    assert ring.counts(0) == (1, 0, {Reason.CONSUMER_LOST: 1}, 0)


def test_a_reader_starts_beside_a_column_that_waits_to_be_recovered(
    ring: Ring, elsewhere: Callable[[], Ring], ready: int
) -> None:
    writer = Writer(elsewhere(), 0, ready)
    writer.begin(0, 0)
    writer._change.__enter__()
    die(writer._ring)
    Reader(ring)
    assert ring.recover(0) == 1
    assert ring.counts(0).missing == 0


def test_a_reader_that_cannot_start_beside_a_stopped_writer_leaves_the_place_free(
    ring: Ring, elsewhere: Callable[[], Ring], writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.001)
    writer._change.__enter__()
    with pytest.raises(TimeoutError):
        Reader(elsewhere())
    writer._change.__exit__()
    Reader(ring)


def test_a_column_is_recovered_by_the_process_of_the_reader_alone(ring: Ring, elsewhere: Callable[[], Ring]) -> None:
    Reader(ring)
    with pytest.raises(DetectionError, match="has its reader in another process"):
        elsewhere().recover(0)


def test_a_column_has_one_writer(ring: Ring, elsewhere: Callable[[], Ring], writer: Writer, ready: int) -> None:
    for one in (elsewhere(), writer._ring):
        with pytest.raises(DetectionError, match="has a writer already"):
            Writer(one, 0, ready)
    Writer(elsewhere(), 1, ready)
    writer.close()
    Writer(elsewhere(), 0, ready)


def test_who_closes_properly_leaves_nothing_to_recover(
    ring: Ring, elsewhere: Callable[[], Ring], writer: Writer, ready: int
) -> None:
    first = Reader(elsewhere())
    put(writer)
    assert first.take(first.ready()[0])
    writer.reserve()
    writer.begin(0, 0)
    writer.close()
    first.close()
    assert ring.counts(0) == (2, 0, {Reason.SOURCE_LOST: 1, Reason.CONSUMER_LOST: 1}, 0)
    assert states(ring) == [State.FREE] * ROWS
    Writer(elsewhere(), 0, ready)
    Reader(ring)


def test_no_frame_is_missing_at_any_moment_while_another_process_writes(ring: Ring, ready: int) -> None:
    frames = 3000
    code = f"""
writer = ring.Writer(ring.Ring.open(Path({str(ring.path)!r})), 0, {ready})
for number in range({frames}):
    capture = writer.begin(0, 0)
    if capture is None or number % 7 == 0:
        writer.miss(ring.Reason.LATE)
    if capture and number % 5 == 0:
        writer.abandon(capture, ring.Reason.SOURCE_LOST)
    elif capture:
        writer.publish(capture, 1, 1, 1, 0)
    if (row := writer.reserve()) is not None:
        writer.unreserve(row)
writer.close()
"""
    reader, looks = Reader(ring), 0
    lines = f"from pathlib import Path\nfrom triton_yolo.clients.memory import ring\n{code}"
    with subprocess.Popen([sys.executable, "-c", lines], cwd=ROOT, pass_fds=[ready]) as process:
        while process.poll() is None:
            for capture in reader.ready():
                if reader.take(capture):
                    assert ring.counts(0).missing == 0
                    reader.release(capture, Reason.LATE if capture.number % 2 else None)
            for _ in range(20):
                counts = ring.counts(0)
                assert counts.missing == 0, counts
                looks += 1
    assert process.returncode == 0
    assert ring.counts(0).captured >= frames + frames // 7
    assert looks > 100
