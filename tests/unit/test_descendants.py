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
    # The shell becomes the interpreter, with a child of its own that has its name by then.
    begun = 'sleep 600 & until [ "$(cat /proc/$!/comm)" = sleep ]; do :; done'
    done = subprocess.run(
        ["bash", "-c", f'{begun}; exec "$0" -c "$1"', sys.executable, CODE],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "1 ['sleep'] [True]\n"


REAPS = """
import os, subprocess, time, psutil
from pyland.supervisor import descendants
descendants.adopt()
own = subprocess.Popen(["true"])
descendants.started(own.pid)
# Orphans that end; the last of them only after a while.
subprocess.run(["sh", "-c", "true & true & sleep 0.5 &"])
def zombies():
    children = psutil.Process().children()
    return [one.pid for one in children if one.status() == psutil.STATUS_ZOMBIE]
while len(zombies()) < 4:
    time.sleep(0.01)
descendants.reap_adopted()
kept = zombies()
own_status = own.wait()
descendants.ended(own.pid)
descendants.reap_adopted()
print(own.pid in kept, own_status, zombies())
descendants.reap_adopted()  # without a child it does nothing
"""


def test_adopted_children_that_have_ended_are_reaped() -> None:
    """But those of pyland's own parts are left to these."""
    done = subprocess.run(
        [sys.executable, "-c", REAPS], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "True 0 []\n"
