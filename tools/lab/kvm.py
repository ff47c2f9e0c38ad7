# SPDX-License-Identifier: GPL-2.0-only
"""Finds out whether KVM works here.

Some machines have /dev/kvm and answer every call that makes a virtual machine, but never run it.
So a guest of a few instructions is tried.
"""

from __future__ import annotations

import functools
import platform
import subprocess
import tempfile
from pathlib import Path

_TRIAL_S = 3
# The reset vector's real-mode code: write 0x31 to the debug-exit port, then halt.
_CODE = bytes([0xB0, 0x31, 0xE6, 0xF4, 0xF4])


@functools.cache
def works() -> bool:
    """True if a guest of KVM runs and ends with the right status."""
    if platform.machine() != "x86_64" or not Path("/dev/kvm").exists():
        return False
    flags = Path("/proc/cpuinfo").read_text().split()
    if "svm" not in flags and "vmx" not in flags:
        return False
    return _trial()


def _trial() -> bool:
    # A boot ROM of 64 KiB; its last 16 bytes, at the reset vector, hold the code.
    rom = bytes(0x10000 - 16) + _CODE + bytes(16 - len(_CODE))
    with tempfile.NamedTemporaryFile(suffix=".rom") as image:
        image.write(rom)
        image.flush()
        command = [
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"),
            *("-machine", "pc", "-accel", "kvm", "-cpu", "host", "-m", "16M"),
            *("-bios", image.name, "-device", "isa-debug-exit,iobase=0xf4,iosize=4"),
        ]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_TRIAL_S, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
    return done.returncode == (0x31 << 1 | 1)
