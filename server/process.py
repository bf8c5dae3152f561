"""Starts a tritonserver, watches it, and leaves nothing of it behind."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from triton_yolo.server.composing import composed
from triton_yolo.server.errors import ServerError
from triton_yolo.server.gpu_selection import Gpu, find_gpu
from triton_yolo.server.installation import Installation, find_installation, link_backends
from triton_yolo.server.limits import SHARED_MEMORY, address_space, allow_files, check_limits, unwritable
from triton_yolo.server.runtimes.base import RECORD, Arithmetic, Device

PREFIX = "triton-yolo-"  # of the runtime folder and of shared memory; the process id follows
EXIT_SECONDS = 10  # requests in flight may take this long after a signal
LOOK_SECONDS = 0.2  # between two looks at whether a Python model was stopped: after 0.7 s its requests may be given up
# Pixels wait for the network in the CUDA pool, which Python models share: 2.4 MB an image, before and behind the
# queue, and as many bytes as a request's frames have. What does not fit is allocated for each request, which is slow.
GPU_FLAGS = ("--cuda-memory-pool-byte-size=0:1073741824",)
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)  # opened before there are threads: it is used between fork and exec
# Triton's own line on a model that does not load, without the level, the time and the quotes around it.
FAILED = re.compile(r"\] \"(failed to load '.*?)(\\n\\nAt:.*)?\"?$")
_numbers = itertools.count()  # tells the servers of one process apart


@dataclass(frozen=True)
class Addresses:
    """Where the server listens.

    Attributes:
        host: name or address to bind to.
        http: port of the HTTP and REST endpoint.
        grpc: port of the gRPC endpoint.
        metrics: port of the Prometheus endpoint.
    """

    host: str = "127.0.0.1"
    http: int = 8000
    grpc: int = 8001
    metrics: int = 8002

    def check_free(self) -> None:
        """Refuse ports that are taken or the same.

        Raises:
            ServerError: names the port and the option.
        """
        ports = {"http": self.http, "grpc": self.grpc, "metrics": self.metrics}
        if len(set(ports.values())) < len(ports):
            raise ServerError("--http-port, --grpc-port and --metrics-port must be three different ports")
        for name, port in ports.items():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((self.host, port))
                except socket.gaierror:
                    raise ServerError(f"--host {self.host} is no address of this machine") from None
                except OSError as error:
                    raise ServerError(
                        f"cannot listen on {self.host}:{port}: {error.strerror}; choose another with --{name}-port"
                    ) from None


class Proved(NamedTuple):
    """What a network computes in, and one line on why and how well."""

    arithmetic: str
    line: str


def free_addresses() -> Addresses:
    """Return three ports of 127.0.0.1 that nobody has at the moment.

    They lie below those that the kernel gives to clients (ip_local_port_range of ip(7)), which might have one before
    the server opens it.
    """
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(3)]
        for probe in probes:
            while True:
                with contextlib.suppress(OSError):
                    probe.bind(("127.0.0.1", 16_384 + secrets.randbelow(16_384)))
                    break
        return Addresses("127.0.0.1", *(probe.getsockname()[1] for probe in probes))


class TritonServer:
    """One tritonserver and everything that belongs to it; a context manager.

    The runtime repository lies in a temporary folder, and the Python backend's shared memory has a prefix of its own,
    both named after this process, so that a later start clears what a killed one left.
    """

    def __init__(
        self,
        repository: Path,
        addresses: Addresses,
        log: Callable[[str], None],
        device: Device = "cpu",
        backends: Path | None = None,
        arithmetic: Arithmetic = "auto",
        gpu: str = "0",
        cores: Collection[int] = (),
        shared_memory: bool = True,
        trace: str = "",
    ) -> None:
        """Prepare; nothing is started.

        Args:
            repository: the model repository to serve.
            addresses: where to listen.
            log: takes each line that the server writes.
            device: where decoding and the network run.
            backends: folder with more of Triton's backends, built for this server; their models run as they are.
            arithmetic: what the network computes in.
            gpu: number or UUID of the GPU, where the device is one; the server sees no other.
            cores: the server runs on these alone; on all where empty.
            shared_memory: whether clients may register shared memory.
            trace: address of a collector of traces; empty for none.
        """
        self.repository, self.addresses, self.log = repository.resolve(), addresses, log
        self.device: Device = device
        self.backends, self.arithmetic, self.wanted_gpu, self.cores = backends, arithmetic, gpu, cores
        self.shared_memory, self.trace = shared_memory, trace
        self.gpu: Gpu | None = None
        self.last_lines: deque[str] = deque(maxlen=200)
        self.name = own_name()
        self.process: subprocess.Popen[str] | None = None
        self._watch, self._closed = threading.Thread(target=self._end_stopped, daemon=True), threading.Event()

    def __enter__(self) -> TritonServer:
        """Start the server; it may not be ready yet.

        Raises:
            ServerError: something that it needs is missing, or may not be had in this place.
        """
        sweep()
        check_limits()
        installation = find_installation()
        if self.device == "gpu":
            self.gpu = find_gpu(self.wanted_gpu)
        self.addresses.check_free()
        try:
            self._start(installation)
        except OSError as error:
            self.__exit__()
            raise unwritable(error, Path(tempfile.gettempdir())) from None
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self, installation: Installation) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=self.name))
        models, backends = self.folder / "models", self.folder / "backends"
        models.mkdir()
        native = link_backends(installation, self.backends, backends)
        uuid = self.gpu.uuid if self.gpu else None
        self.models = composed(self.repository, models, self.device, native, self.arithmetic, uuid)
        alone = {"CUDA_VISIBLE_DEVICES": uuid} if uuid else {}  # whatever uses CUDA in there sees this GPU as number 0
        self.process = subprocess.Popen(
            [str(installation.binary), *self._flags(models, backends)],
            env=installation.environment() | alone,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # a Ctrl-C reaches this process alone, which passes it on
            preexec_fn=self._begin,
        )
        self.reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self.reader.start()

    def _begin(self) -> None:
        """Prepare the server's process, in it."""
        die_with_parent()
        allow_files()
        if self.cores:
            os.sched_setaffinity(0, self.cores)

    @property
    def running(self) -> subprocess.Popen[str]:
        """The server's process."""
        if self.process is None:
            raise RuntimeError("the server has not been entered")
        return self.process

    def _flags(self, models: Path, backends: Path) -> list[str]:
        at = self.addresses
        return [
            f"--model-repository={models}",
            f"--backend-directory={backends}",
            "--disable-auto-complete-config",  # the configurations are complete; saves a process a model at start
            f"--backend-config=python,shm-region-prefix-name={self.name}",
            f"--http-address={at.host}",
            f"--http-port={at.http}",
            f"--grpc-address={at.host}",
            f"--grpc-port={at.grpc}",
            f"--metrics-address={at.host}",
            f"--metrics-port={at.metrics}",
            f"--exit-timeout-secs={EXIT_SECONDS}",
            *(GPU_FLAGS if self.device == "gpu" else ()),
            *(() if self.shared_memory else _without_shared_memory()),
            *(_traced(self.trace) if self.trace else ()),
        ]

    def _read(self, output: IO[str]) -> None:
        with output:
            for line in output:
                self.last_lines.append(line.rstrip())
                self.log(line.rstrip())

    def wait_until_ready(self, seconds: float = 120) -> None:
        """Block until every model is ready, and the metrics can be had, whose port is the last one that opens.

        Raises:
            ServerError: the server ended, or was not ready in time; with what it said last.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.becomes_ready():
                return
            time.sleep(0.1)
        raise ServerError(f"tritonserver was not ready after {seconds:.0f} s: {self.complaint()}")

    def becomes_ready(self) -> bool:
        """Return whether a server that was started is ready by now, and prepare it for requests if it is.

        Raises:
            ServerError: it has ended; with what it said last.
        """
        if (status := self.running.poll()) is not None:
            raise ServerError(self._ended(status))
        metrics = f"http://{self.addresses.host}:{self.addresses.metrics}/metrics"
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(self._health("ready"), timeout=2),
            urllib.request.urlopen(metrics, timeout=2),
        ):
            self._let_threads_finish()
            if self._watch.ident is None:
                self._watch.start()
            return True
        return False

    def _end_stopped(self) -> None:
        """Kill each process of a Python model that was stopped, so that it does not go on (nms/standstill.py).

        It may have been stopped where it cannot see that itself: on an answer's way out.
        """
        with contextlib.ExitStack() as stack:
            stubs = {}
            for pid in children(self.running.pid):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    stubs[pid] = stack.enter_context(Path("/proc", str(pid), "stat").open("rb", buffering=0))
            while not self._closed.wait(LOOK_SECONDS) and self.running.poll() is None:
                for pid, stat in stubs.items():
                    with contextlib.suppress(ProcessLookupError):
                        if _state(os.pread(stat.fileno(), 4096, 0).decode()) == "T":
                            os.kill(pid, signal.SIGKILL)

    def lives(self, seconds: float) -> bool:
        """Return whether the server answers at all.

        Args:
            seconds: how long it may take.
        """
        with contextlib.suppress(OSError), urllib.request.urlopen(self._health("live"), timeout=seconds):
            return True
        return False

    def _health(self, kind: str) -> str:
        return f"http://{self.addresses.host}:{self.addresses.http}/v2/health/{kind}"

    def _let_threads_finish(self) -> None:
        """Let no thread of the server take the core of the one that wakes it (SCHED_BATCH of sched(7)).

        The batcher's thread is woken by a model's instance a moment before that asks for work, and must not look
        earlier (docs/cpu-speed.md). The processes of Python models stay as they are.
        """
        for task in Path(f"/proc/{self.running.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # it has ended, or the machine does not allow it
                os.sched_setscheduler(int(task.name), os.SCHED_BATCH, os.sched_param(0))

    def proved(self) -> dict[str, Proved]:
        """Return what each network computes in and how that was proved, by model, once the server is ready."""
        records = {path: json.loads(path.read_text()) for path in sorted(self.folder.glob(f"models/*/1/{RECORD}"))}
        return {path.parents[1].name: Proved(told["arithmetic"], told["line"]) for path, told in records.items()}

    def complaint(self) -> str:
        """Return why the server gave up, on one line, with the paths that the user knows."""
        why = next((found[1] for line in self.last_lines if (found := FAILED.search(line))), None)
        line = why or next(reversed(self.last_lines), "it said nothing")
        return line.replace(f"{self.folder}/models", str(self.repository)).replace("\\n", " ").replace('\\"', '"')[:500]

    def wait(self) -> None:
        """Block until the server ends by itself, or can answer no more.

        Raises:
            ServerError: always, since nobody asked it to.
        """
        while (why := self.broken()) is None:
            time.sleep(1)
        raise ServerError(f"{why}: start again, or let --servers 1 do that")

    def broken(self) -> str | None:
        """Return why the server can answer no more; None while it can."""
        if (status := self.running.poll()) is not None:
            return self._ended(status)
        if dead_children(self.running.pid):
            return "the process of a Python model has died (killed? out of memory? it stood still?)"
        return None

    def _ended(self, status: int) -> str:
        _kill_group(self.running.pid)  # stubs hold its output open, and would for seconds
        self.reader.join(5)
        return f"tritonserver ended with status {status}: {self.complaint()}{address_space()}"

    def kill(self) -> None:
        """End the server's processes at once, whatever they do."""
        _kill_group(self.running.pid)

    def __exit__(self, *_: object) -> None:
        """Stop the server, its stubs, its folder and its shared memory, whatever state they are in."""
        self._closed.set()
        if self.process:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(EXIT_SECONDS + 5)
            _kill_group(self.process.pid)
            self.process.wait()
            self.reader.join(5)
        remove(self.name)


def _traced(endpoint: str) -> Iterator[str]:
    """Yield the flags with which Triton traces the requests whose clients trace them, and no other."""
    yield "--trace-config=mode=opentelemetry"
    for setting in ("level=TIMESTAMPS", "rate=0"):  # rate 0: those that come with a traceparent
        yield f"--trace-config={setting}"
    for setting in (f"url={endpoint}", "resource=service.name=triton-yolo"):
        yield f"--trace-config=opentelemetry,{setting}"


def _without_shared_memory() -> tuple[str, ...]:
    """Return flags that keep everybody from registering shared memory: it takes a header that nobody is told."""
    locked = f"shared-memory:triton-yolo={secrets.token_hex(32)}"
    return f"--http-restricted-api={locked}", f"--grpc-restricted-protocol={locked}"


def own_name() -> str:
    """Return the beginning of the names of what belongs to one part of this process, for ``sweep``."""
    return f"{PREFIX}{os.getpid()}-{next(_numbers)}-"


def die_with_parent() -> None:
    """Ask the kernel to end the server if the thread that starts it ends, or this process is killed (prctl(2))."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def children(pid: int) -> list[int]:
    """Return processes that a process or one of its threads has started (proc(5))."""
    return [int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in _proc(task).split()]


def dead_children(pid: int) -> list[int]:
    """Return children of a process that have ended while it has not noticed (state Z of proc(5)).

    The Python backend does so with a stub that was killed, and refuses every later request to that model.
    """
    return [child for child in children(pid) if _state(_proc(Path("/proc", str(child), "stat"))) == "Z"]


def _state(stat: str) -> str:
    """Return the state that the kernel's line on a process tells."""
    return stat.rpartition(")")[2].strip()[:1]


def _proc(path: Path) -> str:
    """Return what the kernel says of a process or thread, nothing where that has just ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _kill_group(group: int) -> None:
    """Kill what is left of a server's process group, stubs too."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def remove(name: str) -> None:
    """Remove folders and shared memory whose names begin so."""
    for folder in (Path(tempfile.gettempdir()), SHARED_MEMORY):
        for path in folder.glob(f"{name}*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def sweep() -> None:
    """Remove what servers left whose process was killed."""
    for folder in (Path(tempfile.gettempdir()), SHARED_MEMORY):
        for path in folder.glob(f"{PREFIX}*"):
            owner = path.name.removeprefix(PREFIX).split("-")[0]
            if owner.isdigit() and not Path("/proc", owner).exists():
                remove(f"{PREFIX}{owner}-")
