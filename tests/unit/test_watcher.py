# SPDX-License-Identifier: GPL-2.0-only
"""The watcher of the kernel tests sees rights where there are some, and each stop once."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support.watcher import Watcher

_TWICE = 'for phase in a b; do echo "$phase $$" >> "$0"; kill -STOP $$; done'
_A_CHILD = f"sh -c '{_TWICE}' \"$0\"; :"


def test_a_process_with_rights_is_found(tmp_path: Path) -> None:
    """A child and its child stop: neither has the filter of system calls."""
    (book := tmp_path / "book").touch()
    with Watcher(os.getpid(), book) as watcher:
        done = subprocess.run(["sh", "-c", _A_CHILD, book], timeout=30, check=False)
    assert done.returncode == 0
    assert watcher.phases == watcher.written() == {"a": 1, "b": 1}
    # Both processes, at each of the two stops.
    assert len(watcher.wrong) == len(watcher.looked_at) == 4
    assert "Seccomp:\t0" in watcher.wrong[0]
