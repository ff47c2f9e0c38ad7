# SPDX-License-Identifier: GPL-2.0-only
"""pyland in a folder that only root can read, such as /root: policies run as another user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pyland

RUN = """\
import sys
sys.path.insert(0, sys.argv[1])
import pyland
assert pyland.__file__.startswith(sys.argv[1]), pyland.__file__
from pyland.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's policies run as another user")
@pytest.mark.parametrize("arguments", [["policies"], ["--help-policy", "--policy", "bpfland"]])
def test_built_ins_are_there_where_only_root_can_look(tmp_path: Path, arguments: list[str]) -> None:
    own = tmp_path / "own"
    shutil.copytree(
        Path(pyland.__file__).parent, own / "pyland", ignore=shutil.ignore_patterns("__pycache__")
    )
    own.chmod(0o700)
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(own), *arguments],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "bpfland" in done.stdout
