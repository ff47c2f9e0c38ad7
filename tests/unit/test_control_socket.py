# SPDX-License-Identifier: GPL-2.0-only
"""The control socket: the users that can reach it, its place, and what a client sees."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pyland.errors import UsageError
from pyland.supervisor.control import ControlServer, ask
from tests.support.served import NOBODY, STATUS, Served


def test_only_root_and_the_owner_can_reach_it(served: Served) -> None:
    socket_mode, folder = served.path.lstat(), served.path.parent.lstat()
    assert stat.S_ISSOCK(socket_mode.st_mode)
    assert stat.S_IMODE(socket_mode.st_mode) == 0o600
    assert socket_mode.st_uid == os.getuid()
    assert stat.S_IMODE(folder.st_mode) == 0o755
    served.server.close()
    assert not served.path.exists()
    served.server = ControlServer(owner=os.getuid(), path=served.path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(("mode", "owner", "admitted"), [(0o600, 0, False), (0o666, 0, False),
                                                         (0o600, NOBODY, True)])  # fmt: skip
def test_another_user_is_refused_unread(mode: int, owner: int, admitted: bool) -> None:
    """By the file's mode, and if that is changed, by the user id that the kernel gives."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        served = Served(Path(folder, "run/c.sock"), owner)
        os.chmod(served.path, mode)
        script = (
            "import os, socket, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
            's.send(b\'{"command": "status"}\\n\'); print(s.recv(1000).decode())'
        )
        with subprocess.Popen(
            [sys.executable, "-c", script, str(served.path)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as client:  # fmt: skip
            until_s = time.monotonic() + 20
            while client.poll() is None and time.monotonic() < until_s:
                served.step()
                time.sleep(0.01)
            out, error = client.communicate()
        served.server.close()
    assert bool(served.got) == admitted
    if admitted:
        assert json.loads(out)["ok"]
    elif mode == 0o600:
        assert "PermissionError" in error
    else:
        assert json.loads(out) == {
            "ok": False, "error": "only root and the user who started pyland may ask it",
        }  # fmt: skip


def test_a_second_pyland_is_told_apart_from_a_dead_one(tmp_path: Path) -> None:
    path = tmp_path / "run/c.sock"
    script = (
        "import os, sys; from pathlib import Path\n"
        "from pyland.supervisor.control import ControlServer\n"
        "server = ControlServer(owner=os.getuid(), path=Path(sys.argv[1]))\n"
        # A child that inherits everything and lives on does not count as pyland.
        "os.fork() or (os.setpgid(0, 0), __import__('time').sleep(3), os._exit(0))\n"
        "print('up', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as first:  # fmt: skip
        assert first.stdout is not None
        assert first.stdout.readline() == "up\n"
        with pytest.raises(UsageError, match=f"another pyland runs here, and listens at {path}"):
            ControlServer(owner=os.getuid(), path=path)
        assert path.exists()
        first.kill()
        first.wait()
        assert path.exists()
        served = Served(path, os.getuid())
        assert served.exchange(STATUS)["ok"]
        served.server.close()


def test_an_unsafe_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "full/c.sock").mkdir(parents=True)
    (tmp_path / "full").chmod(0o755)
    for name, words in (
        ("open", "can be changed by others"),
        ("link", "the control socket's folder"),
        ("file", "the control socket's folder"),
        ("absent/deeper", "No such file"),
        ("full", "Is a directory"),
        ("long" * 40, "too long"),
    ):
        with pytest.raises(UsageError, match=words):
            ControlServer(owner=os.getuid(), path=tmp_path / name / "c.sock")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to others")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o755)
    os.chown(tmp_path / "run", NOBODY, NOBODY)
    with pytest.raises(UsageError, match=r"run belongs to user 65534: it must be root's"):
        ControlServer(owner=0, path=tmp_path / "run/c.sock")


def test_a_forked_child_leaves_the_file_and_the_lock(tmp_path: Path) -> None:
    served = Served(tmp_path / "run/c.sock", os.getuid())
    pid = os.fork()
    if pid == 0:
        served.server.abandon()
        os._exit(0)
    os.waitpid(pid, 0)
    assert served.exchange(STATUS)["ok"]
    served.server.close()


def _in_thread(serve: Callable[[socket.socket], None], path: Path) -> threading.Thread:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()

    def run() -> None:
        with listener:
            client, _ = listener.accept()
            with client:
                serve(client)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_client_gets_the_answer(served: Served) -> None:
    done = threading.Event()

    def serve() -> None:
        while not done.is_set():
            served.step()
            done.wait(0.01)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert ask({"command": "status"}, path=served.path)["status"] == {"policy": "x"}
        assert "no command" in ask({"command": "x" * 100}, path=served.path)["error"]
        assert "longer" in ask({"command": "x" * (1 << 20)}, path=served.path)["error"]
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("answer", [b"", b"nonsense\n", b"[]\n", b'{"ok": 1}\n', b'{"ok": tr'])
def test_no_answer_is_told(answer: bytes, tmp_path: Path) -> None:
    def serve(client: socket.socket) -> None:
        client.recv(100)
        client.sendall(answer)

    thread = _in_thread(serve, tmp_path / "s")
    with pytest.raises(UsageError, match="ended the connection without an answer"):
        ask({"command": "status"}, path=tmp_path / "s")
    thread.join()


def test_a_client_does_not_wait_for_ever(tmp_path: Path) -> None:
    over = threading.Event()

    def trickle(client: socket.socket) -> None:
        with suppress(OSError):
            while not over.wait(0.05):
                client.send(b" ")

    thread = _in_thread(trickle, tmp_path / "s")
    begin_s = time.monotonic()
    with pytest.raises(UsageError, match=r"pyland gave no answer within 0\.3 s"):
        ask({"command": "status"}, path=tmp_path / "s", timeout_s=0.3)
    assert time.monotonic() - begin_s < 2
    over.set()
    thread.join()


def test_no_pyland_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="pyland does not run here: no process listens at"):
        ask({"command": "status"}, path=tmp_path / "absent/s")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead"))
    with pytest.raises(UsageError, match="pyland does not run here"):
        ask({"command": "status"}, path=tmp_path / "dead")

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refused)
    with pytest.raises(UsageError, match="not allowed: only root and the user who started pyland"):
        ask({"command": "status"}, path=tmp_path / "dead")


def test_clients_need_no_native_part() -> None:
    script = (
        "import sys; import pyland.cli.main, pyland.supervisor.control\n"
        "print([m for m in ('cffi', '_cffi_backend', 'pyland._native', 'numpy',"
        " 'importlib.metadata') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
