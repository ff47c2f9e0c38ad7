# SPDX-License-Identifier: GPL-2.0-only
"""A policy that waits in each phase of its life until a test has looked at it from outside.

It writes the phase and its process into the file `looks` beside this one, which the test makes, and
stops itself. So do a thread and a child process in each phase. Only the test lets them go on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

from pyland import Policy, Task

LOOKS = Path(__file__).with_name("looks")
# The number of the shell is the same in what it writes and in what is stopped.
_CHILD = 'echo "$0 $$" >> "$1"; kill -STOP $$'


def look(phase: str) -> None:
    """Stop the process until the test has looked at it."""
    # Not made here: the folder is root's.
    with os.fdopen(os.open(LOOKS, os.O_WRONLY | os.O_APPEND), "w") as file:
        file.write(f"{phase} {os.getpid()}\n")
    # To this thread: it does not leave the call before all threads are stopped.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def look_everywhere(phase: str, *, wait: bool) -> None:
    """The same here, in a thread and in a child process; with `wait` until the child has ended."""
    look(phase)
    thread = threading.Thread(target=look, args=(f"{phase}-thread",))
    thread.start()
    thread.join()
    child = subprocess.Popen(["sh", "-c", _CHILD, f"{phase}-child", str(LOOKS)])
    if wait:
        child.wait()


look_everywhere("import", wait=True)


class Phases(Policy):
    """Tasks run in the order in which they come."""

    asked = False

    def __init__(self) -> None:
        super().__init__()
        look_everywhere("constructor", wait=True)

    def enqueue(self, task: Task) -> None:
        if not self.asked:
            self.asked = True
            # A call that sleeps for a second is interrupted, so this does not wait for the child.
            look_everywhere("enqueue", wait=False)
        self.dispatch(task)

    def __del__(self) -> None:
        look("finalizer")
