"""A small virtual machine with Debian's kernel, whose root is this system's, read-only.

This system's Python, packages and checkout run there, with drivers that this system's kernel may not have.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KERNEL = ROOT / ".bench" / "linux"  # .ci/kernel unpacks it
# What the machine may write to is mounted on a folder that every Debian has, and that hides nothing that is needed.
SHARE = next(
    folder
    for folder in ("/mnt", "/media", "/srv")
    if not any(Path(path).is_relative_to(folder) for path in (ROOT, ROOT.resolve(), sys.prefix, sys.base_prefix))
)
TRANSPORT = ("virtio_pci", "9pnet_virtio", "9p")
INIT = """#!/bin/busybox sh
busybox mount -t proc proc /proc
for module in /modules/*; do busybox insmod "$module"; done
busybox mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=524288 root /root
busybox mount -t proc proc /root/proc
busybox mount -t sysfs sys /root/sys
busybox mount -t devtmpfs dev /root/dev
busybox mkdir -p /root/dev/shm
busybox mount -t tmpfs shm /root/dev/shm
busybox mount -t tmpfs share {share} -o mode=0755
busybox mkdir {share}/out {share}/tmp
busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288 out {share}/out
busybox chroot /root /bin/sh -c {command}
busybox echo "the command ended with status $?"
busybox poweroff -f
"""


def available() -> bool:
    """Return whether there is a kernel to boot."""
    return (KERNEL / "complete").exists()


def _processor() -> tuple[str, ...]:
    """Return what computes the machine: the processor where it can, else a program, at about a tenth of its speed.

    Behind /dev/kvm there may be a KVM that knows its own guests' kernels alone, and steps through other ones.
    """
    vendors = any(Path("/sys/module", name).exists() for name in ("kvm_intel", "kvm_amd"))
    if vendors and os.access("/dev/kvm", os.R_OK | os.W_OK):
        return ("-accel", "kvm", "-cpu", "host")
    return ("-accel", "tcg,thread=multi", "-cpu", "max")


def modules(names: Iterable[str]) -> Iterator[Path]:
    """Yield the files of kernel modules, each behind those that it depends on.

    Args:
        names: names of modules; what is not a file is taken for built in.
    """
    files = {path.stem.replace("-", "_"): path for path in (KERNEL / "lib").rglob("*.ko")}
    seen: set[str] = set()

    def follow(name: str) -> Iterator[Path]:
        if name in seen or name not in files:
            return
        seen.add(name)
        found = re.search(rb"\0depends=([\w,-]*)\0", files[name].read_bytes())
        for dependency in found[1].decode().replace("-", "_").split(",") if found else ():
            yield from follow(dependency)
        yield files[name]

    for name in names:
        yield from follow(name)


def run(module: str, out: Path, seconds: float) -> str:
    """Run a Python module in a machine of its own as root, and return what it wrote.

    Args:
        module: name of the module; its argument is a folder that it may write to.
        out: that folder, as this system sees it.
        seconds: how long the machine may take.

    Raises:
        subprocess.TimeoutExpired: it took longer.
    """
    initrd = out.parent / f"{out.name}.initrd"
    environment = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": f"{SHARE}/tmp", "HOME": SHARE}
    words = [f"{name}={value}" for name, value in environment.items()]
    command = shlex.join(["env", "-C", str(ROOT), *words, sys.executable, "-m", module, f"{SHARE}/out"])
    initrd.write_bytes(_initrd(INIT.format(share=f"/root{SHARE}", command=shlex.quote(command))))
    kernel = next((KERNEL / "boot").glob("vmlinuz-*"))
    shares = (("root", Path("/"), ",readonly=on"), ("out", out, ""))
    try:
        done = subprocess.run(
            [
                *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-nographic"),
                *("-machine", "q35", *_processor(), "-smp", "2", "-m", "1024", "-serial", "stdio"),
                *("-kernel", str(kernel), "-initrd", str(initrd)),
                *("-append", "console=ttyS0 quiet panic=-1 mitigations=off"),
                *(
                    word
                    for tag, path, options in shares
                    for word in (
                        *("-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap{options}"),
                        *("-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"),
                    )
                ),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        )
    finally:
        initrd.unlink()
    return done.stdout.decode(errors="replace")


def _initrd(init: str) -> bytes:
    """Return the first root file system: busybox, and the modules that mount this system's."""
    entries = [(folder, stat.S_IFDIR | 0o755, b"") for folder in ("bin", "modules", "proc", "root", "dev")]
    entries += [
        ("bin/busybox", stat.S_IFREG | 0o755, (KERNEL / "bin" / "busybox").read_bytes()),
        ("init", stat.S_IFREG | 0o755, init.encode()),
    ]
    for number, path in enumerate(modules(TRANSPORT)):
        entries.append((f"modules/{number:02}.ko", stat.S_IFREG | 0o644, path.read_bytes()))
    return b"".join(_entry(*entry) for entry in (*entries, ("TRAILER!!!", 0, b"")))


def _entry(name: str, mode: int, content: bytes) -> bytes:
    """Return a file in cpio's newc format (initramfs buffer format, in the kernel's documentation)."""
    fields = (1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return b"".join(part + bytes(-len(part) % 4) for part in (head, content))
