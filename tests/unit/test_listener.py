# SPDX-License-Identifier: GPL-2.0-only
"""A socket that listens: clients see it when it is complete, and nothing else is left."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from pyland.host.listener import SOCKET_PATH_MAX, listen_at

_CONNECTING = """
import socket, sys
refused = 0
while True:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(sys.argv[1])
            if client.recv(1) == b"e":
                break
        except PermissionError:
            refused += 1
        except OSError:
            pass
print(refused)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a program as another user")
def test_a_user_that_connects_during_the_start_is_not_refused(tmp_path: Path) -> None:
    """`pyland monitor` would end then, and not wait for the server."""
    tmp_path.chmod(0o711)
    for folder in (tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o711)
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _CONNECTING, f"{tmp_path}/a"],
        stdout=subprocess.PIPE, text=True, user=65534, group=65534, extra_groups=[],
    ) as client:  # fmt: skip
        for number in range(301):
            with listen_at(tmp_path / "a", mode=0o666, backlog=5).socket as listener:
                listener.settimeout(20)
                with listener.accept()[0] as accepted:
                    accepted.send(b"e" if number == 300 else b"s")
        assert client.communicate(timeout=60)[0] == "0\n"


def test_it_is_complete_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    def rename(new: str, path: str, **folders: Any) -> None:
        (file,) = tmp_path.iterdir()
        assert (file.name, path) == (new, "a")
        state = file.lstat()
        seen.append((stat.S_IMODE(state.st_mode), state.st_gid))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(file))
        renamed(new, path, **folders)

    def chmod(path: str, mode: int) -> None:
        seen.append(stat.S_IMODE(os.stat(path).st_mode))
        changed(path, mode)

    renamed, changed = os.rename, os.chmod
    monkeypatch.setattr(os, "rename", rename)
    monkeypatch.setattr(os, "chmod", chmod)
    group = 12345 if os.geteuid() == 0 else os.getgid()
    os.umask(0o022)
    listen_at(tmp_path / "a", mode=0o660, group=group, backlog=5).socket.close()
    assert seen == [0o600, (0o660, group)]


@pytest.mark.parametrize("length", [1, 60, 85])
def test_the_longest_path(length: int) -> None:
    """There is room for the name that the socket has until it listens."""
    with tempfile.TemporaryDirectory(dir="/tmp") as top:
        folder = Path(top, "f" * (SOCKET_PATH_MAX - length - 2 - len(top)))
        folder.mkdir()
        path = folder / ("s" * length)
        assert len(str(path)) == SOCKET_PATH_MAX
        with listen_at(path, mode=0o600, backlog=5).socket, socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        assert [*folder.iterdir()] == [path]
        with pytest.raises(OSError, match="too long"):
            listen_at(path.with_name(path.name + "s"), mode=0o600, backlog=5)


def test_a_socket_takes_the_place_of_a_dead_one(tmp_path: Path) -> None:
    path = tmp_path / "a"
    listen_at(path, mode=0o600, backlog=5).socket.close()
    found = listen_at(path, mode=0o640, backlog=5)
    with found.socket:
        state = path.lstat()
        assert (found.device, found.inode) == (state.st_dev, state.st_ino)
        assert stat.S_IMODE(state.st_mode) == 0o640
    assert [*tmp_path.iterdir()] == [path]


def test_nothing_is_left_if_the_path_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError):
        listen_at(tmp_path / "a", mode=0o600, backlog=5)
    assert [one.name for one in tmp_path.iterdir()] == ["a"]
    with pytest.raises(FileNotFoundError):
        listen_at(tmp_path / "absent" / "a", mode=0o600, backlog=5)
