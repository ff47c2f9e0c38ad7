# SPDX-License-Identifier: GPL-2.0-only
"""A MariaDB server for sysbench: the tables are made once, each server runs on a copy of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tools.load.build import ROOT
from tools.load.command import PATIENCE, Command

FOLDER = ROOT / "build" / "bench" / "mariadb"
TABLES = 2
ROWS = 10_000

# Small enough for a virtual machine with file systems in memory. Option files are not read: those
# of the distribution name folders that are not writable here.
_OPTIONS = (
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-flush-method=fsync",
    "--innodb-use-native-aio=OFF",  # not with every kernel and file system
    "--performance-schema=OFF",
    "--key-buffer-size=1M",
    "--aria-pagecache-buffer-size=8M",
    "--skip-networking",
    "--skip-name-resolve",
)

# PATH of an ordinary user may lack this folder.
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
_SERVER = shutil.which("mariadbd", path=_PATH)

_running: list[Path] = []


def running() -> Path:
    """The socket of the running server; RuntimeError if there is none."""
    if not _running:
        raise RuntimeError("no MariaDB server runs")
    return _running[-1]


def sysbench(at: Path, *arguments: str) -> list[str]:
    """The sysbench command for read-write transactions with the server at this socket."""
    return [
        "sysbench",
        "oltp_read_write",
        "--db-driver=mysql",
        f"--mysql-socket={at}",
        "--mysql-user=root",
        "--mysql-db=test",
        f"--tables={TABLES}",
        f"--table-size={ROWS}",
        *arguments,
    ]


def prepare(folder: Path = FOLDER) -> Path:
    """The data with sysbench's tables in this folder; the first call makes it, in some seconds.

    The message of a RuntimeError is one line.
    """
    data = folder / "data"
    if data.is_dir():
        return data
    for name in ("mariadb-install-db", "sysbench"):
        if shutil.which(name) is None:
            raise RuntimeError(f"no {name} here")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=folder) as unfinished:
        made = Path(unfinished) / "data"
        _call(
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={made}",
            "--auth-root-authentication-method=normal",
            "--innodb-log-file-size=16M",
            *_as_root(),
        )
        with _serving(made) as at:
            _call(*sysbench(at, "prepare"))
        made.rename(data)
    return data


class Server:
    """A running server on a copy of the data; the end of the `with` block removes the copy.

    The block begins when the server answers; RuntimeError if it does not.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._data = folder / "data"
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Path:
        if not self._data.is_dir():
            raise RuntimeError(f"no data in {self._data}: bench.mariadb.prepare makes it")
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="pyland-db-"))
            data = Path(temporary) / "data"
            shutil.copytree(self._data, data)
            at = stack.enter_context(_serving(data))
            _running.append(at)
            stack.callback(_running.remove, at)
            self._stack = stack.pop_all()
        return at

    def __exit__(self, *_: object) -> None:
        self._stack.close()


@contextlib.contextmanager
def _serving(data: Path) -> Iterator[Path]:
    """The socket of a server on this data, which is shut down at the end."""
    if _SERVER is None:
        raise RuntimeError("no mariadbd here")
    # In a short path: that of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="pyland-db-") as temporary:
        at = Path(temporary) / "socket"
        command = [
            _SERVER,
            "--no-defaults",
            f"--datadir={data}",
            f"--socket={at}",
            f"--tmpdir={temporary}",
            f"--pid-file={temporary}/pid",
            *_OPTIONS,
            *_as_root(),
        ]
        with Command(*command) as server:
            until_s = time.monotonic() + PATIENCE
            while not _answers(at):
                if not server.running or time.monotonic() > until_s:
                    raise RuntimeError(f"mariadbd did not start: {_last_line(server.output)}")
                time.sleep(0.05)
            yield at
            if server.stop():
                raise RuntimeError(f"mariadbd did not end well: {_last_line(server.output)}")


def _answers(at: Path) -> bool:
    """True if a server sends its greeting at this socket."""
    with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
        connection.settimeout(PATIENCE)
        connection.connect(str(at))
        return bool(connection.recv(1))
    return False


def _as_root() -> list[str]:
    """The option without which the server does not run as root."""
    return ["--user=root"] if os.geteuid() == 0 else []


def _call(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        said = _last_line(result.stderr.strip() or result.stdout)
        raise RuntimeError(f"{command[0]} ended with status {result.returncode}: {said}")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]
