# SPDX-License-Identifier: GPL-2.0-only
"""Chooses a QEMU: the machine's own, or a newer one if the machine's own emulates wrongly.

Before 8.1, one emulated processor can translate code while another one changes it, and continue
with the old code. A kernel that loads a scheduler patches its own scheduling code, so about one
load in thirty ends in an Oops at a breakpoint that was removed.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tools.lab import debian, kvm

TRUSTED = (8, 1)
PROGRAM = "qemu-system-x86_64"
# Debian 12 has a newer QEMU in its backports; that of Debian 13 is new enough.
SUITE = "bookworm-backports"
PACKAGES = ("qemu-system-x86", "qemu-system-data", "seabios")


class NoQemuError(Exception):
    """There is no QEMU to boot with; the message is one line."""


@dataclass(frozen=True)
class Qemu:
    """A program, and the arguments that it needs to find its firmware."""

    program: str
    arguments: tuple[str, ...] = ()


def version(program: str) -> tuple[int, ...]:
    """The version, such as (7, 2, 22); () if the program does not run."""
    try:
        text = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ()
    found = re.search(r"version (\d+)\.(\d+)\.(\d+)", text.stdout)
    return tuple(map(int, found.groups())) if found else ()


@functools.cache
def find() -> Qemu:
    """The QEMU to boot with; a newer one is downloaded once if that is needed."""
    own = shutil.which(PROGRAM)
    if own and (kvm.works() or version(own) >= TRUSTED):
        return Qemu(own)
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    prefix = Path(home) / "pyland" / "qemu"
    newer = prefix / "usr/bin" / PROGRAM
    try:
        if not newer.exists():
            debian.fetch(PACKAGES, SUITE, prefix)
        if version(str(newer)) >= TRUSTED:
            folders = (prefix / "usr/share/qemu", prefix / "usr/share/seabios")
            return Qemu(str(newer), tuple(w for folder in folders for w in ("-L", str(folder))))
        why = f"{newer} does not run"
    except debian.DebianError as error:
        why = str(error)
    if not own:
        raise NoQemuError(f"{PROGRAM} is missing: `make setup` installs it")
    number = ".".join(map(str, version(own)))
    print(
        f"vm: QEMU {number} may end a guest that loads schedulers; 8.1 does not, but: {why}",
        file=sys.stderr,
    )
    return Qemu(own)
