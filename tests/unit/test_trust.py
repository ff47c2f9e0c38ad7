# SPDX-License-Identifier: GPL-2.0-only
"""Root runs only files that no user but root and the calling user can change."""

from __future__ import annotations

import os
import py_compile
import sys
from pathlib import Path

import pytest

from pyland.loading.finder import available, choose, untrusted
from tests.support.policy_files import MINE, install, refusal, write

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")


def test_a_file_is_trusted_if_all_that_may_write_it_are(folder: Path) -> None:
    mine, me = folder / "mine.py", frozenset({os.getuid()})
    assert untrusted(mine, me) is None
    for mode, who in ((0o664, "its group"), (0o646, "everyone")):
        mine.chmod(mode)
        assert untrusted(mine, me) == f"{mine} can be changed by {who}: run `chmod go-w` on it"
    mine.chmod(0o644)
    for mode, trusted in ((0o775, False), (0o757, False), (0o1777, True), (0o755, True)):
        folder.chmod(mode)
        assert (untrusted(mine, me) is None) == trusted
    assert untrusted(folder / "absent.py", me) == f"{folder}/absent.py: No such file or directory"


def test_links_are_followed_with_the_folders_that_they_lead_through(tmp_path: Path) -> None:
    me = frozenset({os.getuid()})
    mine = write(tmp_path / "open/in/mine.py", "")
    (tmp_path / "link.py").symlink_to("./open/../open/in/mine.py")
    (tmp_path / "folder").symlink_to(tmp_path / "open/in")
    (tmp_path / "round").symlink_to("round")
    assert untrusted(tmp_path / "link.py", me) is None
    (tmp_path / "open").chmod(0o777)
    for path in (mine, tmp_path / "link.py", tmp_path / "folder/mine.py"):
        reason = untrusted(path, me)
        assert reason is not None
        assert reason.startswith(f"{tmp_path}/open can be changed by everyone")
    reason = untrusted(tmp_path / "round", me)
    assert reason is not None
    assert "symbolic links" in reason


@as_root
def test_another_users_files_are_not_trusted(folder: Path) -> None:
    mine = folder / "mine.py"
    os.chown(mine, NOBODY, -1)
    assert untrusted(mine, frozenset({NOBODY})) is None
    reason = untrusted(mine, frozenset({1000}))
    assert reason is not None
    assert reason.startswith(f"{mine} belongs to user ")
    os.chown(mine, 0, -1)
    link = folder / "link.py"
    link.symlink_to(mine)
    os.chown(link, NOBODY, -1, follow_symlinks=False)
    assert untrusted(link, frozenset({0})) is not None
    link.unlink()
    # Sticky or not, its owner can exchange what is in it.
    folder.chmod(0o1777)
    os.chown(folder, NOBODY, -1)
    assert untrusted(mine, frozenset({0})) is not None


@as_root
@pytest.mark.parametrize("spec", ["mine:Mine", "./mine.py:Mine", "uses:Mine", "ours.mine:Mine"])
def test_root_runs_nothing_that_others_can_write(
    spec: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked = "import sys\nsys.modules['pyland_test_ran'] = sys\n"
    write(folder / "mine.py", marked + MINE.format(name="mine"))
    write(folder / "uses.py", "from mine import Mine")
    write(folder / "ours/__init__.py", "")
    write(folder / "ours/mine.py", "from mine import Mine")
    monkeypatch.delitem(sys.modules, "pyland_test_ran", raising=False)
    for path in (folder / "mine.py", folder):
        path.chmod(0o777)
        assert f"not trusted: {path} can be changed by everyone" in refusal(spec, folder)
        path.chmod(0o755)
    os.chown(folder / "mine.py", NOBODY, -1)
    assert f"not trusted: {folder}/mine.py belongs to user" in refusal(spec, folder)
    assert "pyland_test_ran" not in sys.modules
    # The user that called sudo may.
    monkeypatch.setenv("SUDO_UID", str(NOBODY))
    assert choose(spec, folder=folder).policy.name == "mine"
    assert "pyland_test_ran" in sys.modules


@as_root
def test_root_runs_nothing_that_a_policy_imports_and_others_can_write(folder: Path) -> None:
    write(folder / "ours/__init__.py", "")
    write(folder / "ours/names.py", "").chmod(0o666)
    write(folder / "ours/it.py", "from ours import names\n" + MINE.format(name="it"))
    told = refusal("ours.it", folder)
    assert f"not trusted: {folder}/ours/names.py can be changed by everyone" in told
    (folder / "ours/names.py").chmod(0o644)
    assert choose("ours.it", folder=folder).policy.name == "it"


@as_root
def test_root_runs_no_package_that_others_can_write(site: Path, tmp_path: Path) -> None:
    install(site, "pyland_test_f", "1 / 0", ptf="pyland_test_f:Mine")
    site.chmod(0o777)
    for spec in ("ptf", "pyland_test_f:Mine"):
        assert f"not trusted: {site} can be changed by everyone" in refusal(spec, tmp_path)
    errors = [one.error for one in available(tmp_path) if one.name == "ptf"]
    assert errors[0].startswith("not trusted: ")
    write(site / "pyland_test_g/__init__.py", "1 / 0")
    write(site / "pyland_test_g/it.py", "1 / 0")
    site.chmod(0o755)
    (site / "pyland_test_g/__init__.py").chmod(0o666)
    assert "not trusted: " in refusal("pyland_test_g.it:Mine", tmp_path)


@as_root
def test_root_runs_no_bytecode_that_others_can_write(site: Path, tmp_path: Path) -> None:
    install(site, "pyland_test_h", MINE.format(name="pth"), pth="pyland_test_h:Mine")
    cached = py_compile.compile(str(site / "pyland_test_h.py"))
    assert cached is not None
    Path(cached).parent.chmod(0o777)
    assert "__pycache__ can be changed by everyone" in refusal("pth", tmp_path)
    Path(cached).parent.chmod(0o755)
    assert choose("pth", folder=tmp_path).policy.name == "pth"


def test_an_ordinary_user_runs_what_that_user_may(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (folder / "mine.py").chmod(0o666)
    assert choose("mine", folder=folder).policy.name == "mine"
    # After sudo the process has the user's rights, but its code decides for the machine.
    monkeypatch.setenv("SUDO_UID", str(os.getuid()))
    assert "not trusted" in refusal("mine", folder)
