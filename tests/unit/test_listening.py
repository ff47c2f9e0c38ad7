# SPDX-License-Identifier: GPL-2.0-only
"""The sockets that serve statistics: places, modes, and servers that were there before."""

from __future__ import annotations

import itertools
import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyland.cli.main import main
from pyland.errors import UsageError
from pyland.stats.listening import Listening
from pyland.stats.places import Places


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_folders_are_made_and_only_root_may_connect(tmp_path: Path) -> None:
    path = tmp_path / "scx/root/stats"
    os.umask(0o077)
    listening = Listening.at(Places(str(path)))
    assert _mode(path) == 0o600
    assert _mode(path.parent) == _mode(path.parent.parent) == 0o755
    assert [one.name for one in path.parent.iterdir()] == ["stats"]
    listening.close()
    assert not path.exists()


def test_mode_and_group_are_options(tmp_path: Path) -> None:
    gid = os.getgid()
    for places, mode in (
        (Places(f"{tmp_path}/a", group=str(gid)), 0o660),
        (Places(f"{tmp_path}/a", mode="666"), 0o666),
        (Places(f"{tmp_path}/a", mode="0640", group=str(gid)), 0o640),
    ):
        listening = Listening.at(places)
        assert _mode(tmp_path / "a") == mode
        assert (tmp_path / "a").lstat().st_gid == gid
        listening.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a socket to a group")
def test_another_group(tmp_path: Path) -> None:
    listening = Listening.at(Places(f"{tmp_path}/a", group="12345"))
    assert (tmp_path / "a").lstat().st_gid == 12345
    listening.close()


def test_a_live_servers_socket_is_not_stolen(tmp_path: Path) -> None:
    path = tmp_path / "stats"
    for backlog in (5, 0):  # with 0 there is no room for the second client
        with socket.socket(socket.AF_UNIX) as live:
            live.bind(str(path))
            live.listen(backlog)
            inode = path.lstat().st_ino
            for _ in range(3):
                with pytest.raises(UsageError, match=f"another server listens at {path}"):
                    Listening.at(Places(str(path)))
            assert path.lstat().st_ino == inode
            assert [one.name for one in tmp_path.iterdir()] == ["stats"]
        path.unlink()


def test_a_dead_servers_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "stats"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    listening = Listening.at(Places(str(path)))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listening.close()


def test_the_file_of_another_server_stays(tmp_path: Path) -> None:
    path = tmp_path / "stats"
    listening = Listening.at(Places(str(path)))
    path.unlink()  # as the original does, at the start of another scheduler
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        listening.close()
        assert path.exists()


def test_what_is_no_socket_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    for name in ("file", "folder", "link"):
        with pytest.raises(UsageError, match="is there already, and is no socket"):
            Listening.at(Places(f"{tmp_path}/{name}"))
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to others")
def test_a_place_where_others_can_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 12345, 12345)
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    for name, words in (("open", "can be changed by others"), ("theirs", "belongs to user 12345")):
        with pytest.raises(UsageError, match=words):
            Listening.at(Places(f"{tmp_path}/{name}/s"))
    Listening.at(Places(f"{tmp_path}/sticky/s")).close()


def test_the_default_place_is_not_worth_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("pyland.stats.places.DEFAULT_PATH", tmp_path / "file/root/stats")
    listening = Listening.at(Places())
    assert not listening
    (note,) = listening.notes
    assert note.startswith("no statistics are served: ")
    with pytest.raises(UsageError, match=r"--stats-socket .*Not a directory"):
        Listening.at(Places(f"{tmp_path}/file/root/stats"))


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = tmp_path / "stats"
        with pytest.raises(UsageError, match=f"port {port}: Address already in use"):
            Listening.at(Places(str(path), metrics=str(port)))
        assert not path.exists()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9100", ("127.0.0.1", 9100)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert Places(metrics=text).metrics_address == address


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--metrics", text], f"--metrics {text}: it takes a port from 1 to 65535")
        for text in ("0", "65536", "x", "localhost:9100", "1.2.3.4", "::1:80", "1.2.3.4:", "[::1]",
                     "[1.2.3.4]:80", "-1", "٩١", "1" * 5000)
    ]
    + [
        (["--stats-socket", "here"], "--stats-socket here: it takes the path of a socket"),
        (["--stats-socket", "/x" * 60], "a path of at most 107 bytes"),
        (["--metrics", "/tmp/"], "--metrics /tmp/: it takes the path of a socket"),
        (["--stats-mode", "888"], "--stats-mode 888: it takes an octal mode"),
        (["--stats-mode", "7777"], "--stats-mode 7777: it takes an octal mode"),
        (["--stats-group", "no such"], "--stats-group no such: there is no such group"),
        (["--stats-group", "9" * 20], "there is no such group"),
        (["--monitor", "0"], "--monitor 0: it takes 0.1 to 3600 seconds"),
        (["monitor", "--interval", "nan"], "--interval nan: it takes 0.1 to 3600 seconds"),
        (["monitor", "--interval", "x"], "invalid float value: 'x'"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_in_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err
    assert printed.err.count("\n") == 1


def test_a_folder_of_another_user_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give a folder away")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 12345, -1)
    with pytest.raises(UsageError, match="theirs belongs to user 12345"):
        Listening.at(Places(f"{theirs}/pyland/root/stats"))
    assert list(theirs.iterdir()) == []


@pytest.mark.parametrize("text", [r"[::1:9100", "[fe80::1%\udcff]:9100", "http://127.0.0.1:9100/m"])
def test_an_address_that_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="--metrics"):
        Listening.at(Places("none", metrics=text))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which the test fills or makes read-only."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k,nr_inodes=4,mode=755", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("full", "No space left on device"),
        ("read-only", "Read-only file system"),
        ("read-only with folders", "Read-only file system"),
        ("no /var/run", "No such file or directory"),
    ],
)
def test_a_disk_that_takes_no_socket_is_one_line(
    trouble: str, told: str, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler goes on without statistics; a place that the user named is an error."""
    run = small_disk / "run"
    path = run / "scx/root/stats"
    if trouble != "no /var/run":
        run.mkdir()
    if trouble == "full":
        for number in itertools.count():
            try:
                (run / str(number)).write_text("")
            except OSError:
                break
    if trouble.startswith("read-only"):
        if "folders" in trouble:
            path.parent.mkdir(parents=True)
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    monkeypatch.setattr("pyland.stats.places.DEFAULT_PATH", path)
    listening = Listening.at(Places())
    assert not listening
    (note,) = listening.notes
    assert note.startswith("no statistics are served: ")
    assert note.endswith(f": {told}")
    assert len(note.splitlines()) == 1
    with pytest.raises(UsageError) as error:
        Listening.at(Places(str(path)))
    assert str(error.value).startswith("--stats-socket ")
    assert str(error.value).endswith(f": {told}")
    with pytest.raises(UsageError, match=rf"^--metrics .*: {told}$"):
        Listening.at(Places("none", metrics=str(run / "metrics")))
