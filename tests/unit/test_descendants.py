# SPDX-License-Identifier: GPL-2.0-only
"""Only the processes that a policy may have started end with pyland."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import subprocess, psutil
from pyland.supervisor import descendants
before = psutil.Process().children()
descendants.adopt()
# Its child is left without a parent, as one that a policy started.
subprocess.run(["sh", "-c", "sleep 600 & :"])
nr = descendants.end_descendants()
print(nr, [one.name() for one in before], [one.is_running() for one in before])
for one in before:
    one.kill()
"""


def test_children_that_were_there_before_are_spared() -> None:
    # The shell becomes the interpreter, with a child of its own.
    done = subprocess.run(
        ["bash", "-c", 'sleep 600 & exec "$0" -c "$1"', sys.executable, CODE],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "1 ['sleep'] [True]\n"
