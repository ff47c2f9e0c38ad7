# SPDX-License-Identifier: GPL-2.0-only
"""The command as root imports nothing that a user has put in its way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PYLAND = Path(sys.executable).with_name("pyland")


def _plant(folder: Path) -> Path:
    """Modules that leave a trace wherever they are imported."""
    trace = folder / "trace"
    evil = f"open({str(trace)!r}, 'a').write(__name__ + chr(10))\n"
    (folder / "home").mkdir()
    site = folder / "home/.local/lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    site = site / "site-packages"
    site.mkdir(parents=True)
    for place in (folder, site):
        for name in ("sitecustomize", "usercustomize", "json", "pyland", "argparse", "signal"):
            (place / f"{name}.py").write_text(evil)
    (site / "evil.pth").write_text(f"import os; {evil}")
    return trace


@pytest.mark.skipif(os.geteuid() != 0, reason="as root is what matters")
@pytest.mark.parametrize("arguments", [["--version"], ["policies"], ["status"]])
def test_nothing_is_imported_from_where_a_user_can_write(
    tmp_path: Path, arguments: list[str]
) -> None:
    trace = _plant(tmp_path)
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "PYTHONSTARTUP": str(tmp_path / "json.py"),
        "PYTHONUSERBASE": str(tmp_path / "home/.local"),
        "HOME": str(tmp_path / "home"),
    }
    # What keeps this test honest: an interpreter that is not isolated does import them.
    subprocess.run(["/usr/bin/python3", "-c", "0"], cwd=tmp_path, env=environment, check=True)
    assert trace.exists()
    trace.unlink()
    subprocess.run(
        [PYLAND, *arguments], cwd=tmp_path, env=environment, capture_output=True, check=False
    )
    assert not trace.exists(), trace.read_text()


@pytest.mark.parametrize("name", ["pyland", "scx_pyland"])
def test_it_is_found_through_a_link(tmp_path: Path, name: str) -> None:
    link = tmp_path / name
    link.symlink_to(PYLAND.with_name(name))
    done = subprocess.run([link, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("pyland ")


def test_programs_of_the_callers_path_are_not_run(tmp_path: Path) -> None:
    for name in ("dirname", "readlink", "python3"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/trace\n")
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run([PYLAND, "--version"], env=environment, capture_output=True, check=True)
    assert not (tmp_path / "trace").exists()


def test_it_is_found_through_a_link_to_its_folder(tmp_path: Path) -> None:
    (tmp_path / "bin").symlink_to(PYLAND.parent)
    command = [str(tmp_path / "bin/pyland"), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("pyland ")
