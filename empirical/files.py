"""Files that are whole or not there: written under names of their own, read only where they are files."""

from __future__ import annotations

import errno
import os
import re
import secrets
import socket
import stat
import time
from functools import cache
from itertools import count
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_STALE = 3600.0  # seconds after which a temporary file of an unknown writer belongs to no living one
_OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # of this process: they say nothing of the file
_TEMPORARY = re.compile(r"\.([^.]+)\.(\d+)\.(\d*)\.[0-9a-f]{8}\.tmp")


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it: a reader sees all of it or nothing."""
    temporary = _temporary(path)
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise OSError(error.errno, f"no room for {len(content)} bytes of {path}; what is finished is kept: make "
                          "room, and the same call goes on") from None
        raise


def read(path: Path) -> bytes:
    """Return what a file holds; a ValueError if something else has its name. What has no end is never waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        if error.errno in _OURS or not os.path.lexists(path):
            raise
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    regular = stat.S_ISREG(os.fstat(handle).st_mode)
    if not regular:
        os.close(handle)
        raise ValueError(f"{path}: not a file")
    with open(handle, "rb") as file:
        return file.read()


def set_aside(path: Path, why: str) -> Path:
    """Rename whatever has this name to NAME.why, or to the first free number behind it; return the new name."""
    for number in count(1):
        aside = path.with_name(f"{path.name}.{why}{number if number > 1 else ''}")
        try:
            path.replace(aside)
        except FileNotFoundError:  # another run was first
            pass
        except OSError:
            if os.path.lexists(aside):  # a folder, which no file replaces, or the reverse
                continue
            raise
        return aside
    raise AssertionError("there are more numbers than files")


def check_writable(folder: Path, name: str) -> None:
    """Make a folder if it is missing; raise an OSError that names it unless files can be made there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (probe := _temporary(folder / "probe")).touch(exist_ok=False)
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(f"{name} {folder} is not a writable folder: {error.strerror}") from None


def sweep(folder: Path) -> None:
    """Remove the temporary files of writers that are gone; those of a living one stay, however old they are."""
    for left in folder.glob(".*.tmp"):
        try:
            if not _has_a_writer(left):
                left.unlink()
        except OSError:
            pass  # another run was first, its writer has renamed it, or it is no file


def _temporary(path: Path) -> Path:
    """Return a name beside a path that says who writes: host, process, and when that was started."""
    pid = os.getpid()
    return path.with_name(f".{path.name}.{_host()}.{pid}.{_started(pid)}.{secrets.token_hex(4)}.tmp")


def _has_a_writer(path: Path) -> bool:
    """Whether a temporary file may still be renamed: its process lives, or is elsewhere and wrote within the hour."""
    known = _TEMPORARY.search(path.name)
    if known is None or known[1] != _host():
        return time.time() - path.lstat().st_mtime <= _STALE
    try:
        os.kill(int(known[2]), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # of another user
    return _started(int(known[2])) == known[3]


@cache
def _host() -> str:
    """Return a name of this machine; a container, where one process has another number, has another name."""
    try:
        space = re.sub(r"\D", "", os.readlink("/proc/self/ns/pid"))
    except OSError:
        space = ""
    return re.sub(r"[^A-Za-z0-9-]", "_", socket.gethostname())[:40] + (f"-{space}" if space else "")


def _started(pid: int) -> str:
    """Return when a process was started, in the kernel's ticks; nothing where the system does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return ""
