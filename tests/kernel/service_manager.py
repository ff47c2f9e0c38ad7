# SPDX-License-Identifier: GPL-2.0-only
"""systemd as the first process of namespaces of its own, for the service.

It has the machine's kernel and sched_ext, a cgroup of its own, and only the units that it is given,
so it is up in two seconds. Its root is the machine's; in the lab that is read-only.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

from tools.load import build
from tools.load.scheduler import until

SYSTEMD = Path("/usr/lib/systemd/systemd")
_CGROUP = Path("/sys/fs/cgroup/service-manager")
_STEP_S = 0.2  # each look starts a process
_UNITS = (
    *("sysinit.target", "basic.target", "multi-user.target", "shutdown.target", "umount.target"),
    *("final.target", "sockets.target", "slices.target", "paths.target", "timers.target"),
    *("local-fs.target", "swap.target", "systemd-journald.service", "systemd-journald.socket"),
    "systemd-journald-dev-log.socket",
)
# /usr/local/bin has the two commands; /etc/default and /var are empty and can be written.
_SCRIPT = f"""
set -e
mount --make-rprivate /
mount -t proc proc /proc
umount /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmp /run
mkdir -p /run/systemd/system /run/units/sysinit.target.wants
for unit in {" ".join(_UNITS)}; do
    cp /usr/lib/systemd/system/$unit /run/units
done
ln -s ../systemd-journald.service /run/units/sysinit.target.wants
mount --bind /run/units /usr/lib/systemd/system
for folder in /usr/local/bin /etc/default /var; do
    mount -t tmpfs -o mode=755 tmp $folder
done
mkdir -p /var/log /var/lib /var/tmp
ln -s /run /var/run
ln -s {build.ROOT}/.venv/bin/pyland {build.ROOT}/.venv/bin/scx_pyland /usr/local/bin
cp {build.ROOT}/service/pyland.service /run/systemd/system
container=lab exec {SYSTEMD} --system --unit=basic.target --show-status=no --log-target=journal
"""


class ServiceManager:
    """A running systemd; a context manager that ends it, with all that it has started."""

    def __init__(self) -> None:
        _CGROUP.mkdir(exist_ok=True)
        words = ["unshare", "--mount", "--pid", "--cgroup", "--fork", "--kill-child", "bash", "-c"]
        self._process = subprocess.Popen(
            ["sh", "-c", f'echo $$ >{_CGROUP}/cgroup.procs; exec "$@"', "sh", *words, _SCRIPT],
            stdin=subprocess.DEVNULL,
        )
        if until(self._is_up, 60, _STEP_S) is None or self._process.poll() is not None:
            self.__exit__()
            raise AssertionError("systemd did not start")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        with suppress(OSError):
            (_CGROUP / "cgroup.kill").write_text("1")
        assert until(self._is_gone, 20) is not None, "a process of systemd did not end"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside its services."""
        (first,) = psutil.Process(self._process.pid).children()
        command = ["nsenter", "--target", str(first.pid), "--mount", "--pid", "--cgroup", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def systemctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("systemctl", "--no-pager", *words)

    def write(self, path: str, text: str) -> None:
        """Write a file that its services see, with its folder."""
        assert self.run("mkdir", "-p", str(Path(path).parent)).returncode == 0
        assert self.run("sh", "-c", 'printf %s "$1" >"$2"', "sh", text, path).returncode == 0

    def shows(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit."""
        shown = self.systemctl("show", "--property", ",".join(names), unit).stdout
        return dict(line.partition("=")[::2] for line in shown.splitlines())

    def journal(self, unit: str) -> list[tuple[int, str]]:
        """The level and the text of each line that the unit's processes have written."""
        fields = "PRIORITY,MESSAGE"
        words = ("journalctl", "--unit", unit, "--output", "export", "--output-fields", fields)
        found: list[tuple[int, str]] = []
        for entry in self.run(*words).stdout.split("\n\n"):
            values = dict(line.partition("=")[::2] for line in entry.splitlines())
            if values.get("MESSAGE", "").startswith("pyland: "):
                found.append((int(values["PRIORITY"]), values["MESSAGE"]))
        return found

    def _is_up(self) -> bool:
        """True if it is up, or has ended."""
        if self._process.poll() is not None:
            return True
        with suppress(ValueError):  # it has no child yet
            return self.systemctl("is-system-running").stdout.strip() in ("running", "degraded")
        return False

    def _is_gone(self) -> bool:
        for folder, _, _ in os.walk(_CGROUP, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()
        return not _CGROUP.exists()


def installed() -> bool:
    """True if this machine has systemd and what starts it here."""
    return SYSTEMD.exists() and all(map(shutil.which, ("unshare", "nsenter", "journalctl")))
