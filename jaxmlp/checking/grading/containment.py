"""What keeps a submission in its place, on Linux, as an ordinary user or as root.

Resource limits hold on every Unix. Namespaces (`unshare(2)`) hold where the kernel lets a user
make them: then there is no network, the file system is read-only but for an empty temporary
folder in memory, and no process outlives the first one.
"""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path
from typing import NamedTuple

# of <linux/sched.h>, <sys/mount.h> and <linux/mount.h>
NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_PID, NEW_NET = (
    0x00020000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
MOUNT_SETATTR, AT_HERE, RECURSIVE, READ_ONLY, PRIVATE = 442, -100, 0x8000, 1, 0x40000
MEGABYTE = 2**20
OPEN_FILES = 64
PROCESSES = 64


class Limits(NamedTuple):
    """What a submission may use.

    Attributes:
        seconds: of time.
        memory: in megabytes, beyond what the checker itself takes.
        file_size: of a file that it writes, in megabytes.
    """

    seconds: float = 30.0
    memory: int = 2048
    file_size: int = 16


class Attributes(ctypes.Structure):
    """`struct mount_attr` of mount_setattr(2)."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64), ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64), ("userns_fd", ctypes.c_uint64),
    )  # fmt: skip


def contain(limits: Limits, folder: Path) -> list[str]:
    """Put this process, and all that it starts, in its place; it has to have one thread.

    Args:
        limits: of resources.
        folder: an empty one, which becomes the working folder.

    Returns:
        What could not be contained, in a few words each.
    """
    os.setsid()  # so that all that it starts can be ended together
    _silence()
    linux, left = sys.platform == "linux", ["memory", "network", "files"]
    if linux:
        own = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        most = own + limits.memory * MEGABYTE
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for which, most in (
        (resource.RLIMIT_CPU, int(limits.seconds) + 1),
        (resource.RLIMIT_FSIZE, limits.file_size * MEGABYTE),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(which, (most, most))
    left = _namespaces(folder, limits) if linux else left
    os.chdir(folder)
    if os.getuid() == 0 and left:
        left.append("processes")  # whose number nothing limits for root
    return left


def _silence() -> None:
    """Nothing to read, and nobody who reads what is printed."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)


def _namespaces(folder: Path, limits: Limits) -> list[str]:
    """Leave network, mounts and processes behind; the names of what stays."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(NEW_USER | NEW_MOUNTS | NEW_IPC | NEW_PID | NEW_NET):
        return ["network", "files"]
    for name, text in (
        ("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1"),
    ):  # fmt: skip
        Path("/proc/self", name).write_text(text)
    left = []
    attributes = Attributes(READ_ONLY, 0, PRIVATE, 0)
    size = ctypes.sizeof(attributes)
    told = ctypes.byref(attributes)
    options = f"size={limits.file_size * 4}m".encode()
    if libc.syscall(MOUNT_SETATTR, AT_HERE, b"/", RECURSIVE, told, size) or libc.mount(
        b"none", os.fsencode(folder), b"tmpfs", 0, options
    ):
        left.append("files")
    _be_first()
    resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))
    return left


def _be_first() -> None:
    """Go on as the first process of the new namespace, with which all others end."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    libc = ctypes.CDLL(None)
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: not without the one that waits
