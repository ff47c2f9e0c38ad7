# SPDX-License-Identifier: GPL-2.0-only
"""Folders with policies, a control socket, writers of traces, no variables of sudo."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyland.loading.caller import VARIABLES
from tests.support.policy_files import MINE, write
from tests.support.served import Served
from tests.support.trace_files import Writer


@pytest.fixture(autouse=True)
def _own_user(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in ("SUDO_GID", *VARIABLES):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("pyland.loading.trust._remembered", None)  # a command in this process does
    umask = os.umask(0o022)
    yield
    os.umask(umask)


@pytest.fixture
def readable(tmp_path: Path) -> None:
    """All users can read below `tmp_path`: a policy never runs as root."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)


@pytest.fixture
def plain_user() -> int:
    """The uid of a user without rights; a test runs programs of this tree as that user."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    for folder in Path(sys.executable).parents:
        if not folder.stat().st_mode & 0o001:
            pytest.skip(f"other users cannot enter {folder}")
    return 65534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a policy in it."""
    write(tmp_path / "mine.py", MINE.format(name="mine"))
    return tmp_path


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """A folder of installed packages."""
    site = tmp_path / "site"
    site.mkdir(mode=0o755)
    sys.path.insert(len(sys.path) - 1, str(site))
    yield site
    sys.path.remove(str(site))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A server that listens."""
    served = Served(tmp_path / "run/c.sock", os.getuid())
    yield served
    served.server.close()


@pytest.fixture
def new_writer(tmp_path: Path) -> Iterator[Callable[..., Writer]]:
    """Makes writers of traces."""
    writers: list[Writer] = []

    def make(path: Path = tmp_path / "a.pftrace", **options: int) -> Writer:
        writers.append(Writer(path, **options))
        return writers[-1]

    yield make
    for one in writers:
        one.close()
