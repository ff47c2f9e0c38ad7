# SPDX-License-Identifier: GPL-2.0-only
"""Kernels with sched_ext for the lab: Debian's own, or one that lies in a folder.

Debian 13's backports carry the 7.x series with sched_ext. Of older ones the archive keeps the
image but not the modules; only kernels with both are offered, for the lab's file system is one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tools.lab import debian

SUITE = "trixie-backports"
ARCHITECTURE = "amd64"
ROOT = Path(__file__).resolve().parents[2]


class NoKernelError(Exception):
    """There is no such kernel here; the message is one line."""


@dataclass(frozen=True)
class Kernel:
    """A kernel to boot; without `modules` everything it needs is built in."""

    version: str
    image: Path
    modules: Path | None


def cache() -> Path:
    """Where kernels stay from one boot to the next, outside the repository."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "pyland" / "kernels"


def number(version: str) -> tuple[int, ...]:
    """For sorting: the numbers of `7.3.4+deb13-amd64` or `6.12.117`."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0]))


def choose(wanted: str, versions: list[str]) -> str:
    """The version that `newest`, `oldest`, a series or a version means, of those there are."""
    ordered = sorted(versions, key=number)
    if wanted in ("newest", "oldest"):
        if ordered:
            return ordered[-1 if wanted == "newest" else 0]
    else:
        start = number(wanted)
        matching = [v for v in ordered if start and number(v)[: len(start)] == start]
        if matching:
            return matching[-1]
    raise NoKernelError(f"no kernel {wanted}; there is: {', '.join(ordered) or 'none'}")


def find(wanted: str) -> Kernel:
    """The kernel to boot; downloaded when it is Debian's and not here yet."""
    path = Path(wanted)
    if "/" in wanted:
        if not path.is_file():
            raise NoKernelError(f"no kernel image {wanted}")
        return Kernel(path.parent.name, path.resolve(), None)
    local = _local()
    if wanted not in ("newest", "oldest"):
        try:
            return local[choose(wanted, list(local))]
        except NoKernelError:
            pass
    # A name without numbers asks the archive once; afterwards what is cached decides.
    cached = _cached()
    pinned = cache() / wanted
    if pinned.is_file() and pinned.read_text() in cached:
        return cached[pinned.read_text()]
    try:
        return cached[choose(wanted, list(cached) if number(wanted) else [])]
    except NoKernelError:
        return _download(wanted, pinned)


def available() -> list[str]:
    """All versions that `find` takes, oldest first."""
    try:
        with tempfile.TemporaryDirectory() as state:
            offered = _offered(debian.Suite(SUITE, Path(state)))
    except debian.DebianError:
        offered = []
    return sorted({*offered, *_cached(), *_local()}, key=number)


def _local() -> dict[str, Kernel]:
    """Images in folders named by their version, with everything built in."""
    folder = Path(os.environ.get("PYLAND_KERNELS") or ROOT.parent / "shared" / "kernels")
    images = folder.glob("*/bzImage")
    return {path.parent.name: Kernel(path.parent.name, path.resolve(), None) for path in images}


def _cached() -> dict[str, Kernel]:
    return {
        path.parent.name: Kernel(path.parent.name, path, path.parent)
        for path in cache().glob("*/usr/lib/modules/*/vmlinuz")
    }


def _offered(suite: debian.Suite) -> list[str]:
    def versions(kind: str) -> set[str]:
        names = suite.names(rf"linux-{kind}-7\.\d+\.\d+\+deb\d+-{ARCHITECTURE}")
        return {name.removeprefix(f"linux-{kind}-") for name in names}

    return sorted(versions("binary") & versions("modules"), key=number)


def _download(wanted: str, pinned: Path) -> Kernel:
    cache().mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=cache(), prefix=".lists-") as state:
            suite = debian.Suite(SUITE, Path(state))
            version = choose(wanted, _offered(suite))
            destination = cache() / version
            if not destination.exists():
                packages = [f"linux-{kind}-{version}" for kind in ("binary", "modules", "base")]
                debian.unpack(suite, packages, destination)
                _index_modules(destination, version)
    except debian.DebianError as error:
        raise NoKernelError(f"kernel {wanted} cannot be fetched: {error}") from error
    if not number(wanted):
        pinned.write_text(version)
    return _cached()[version]


def _index_modules(destination: Path, version: str) -> None:
    """Debian makes modules.dep when it installs a kernel; this one is only unpacked."""
    depmod = shutil.which("depmod") or "/usr/sbin/depmod"
    subprocess.run([depmod, "-b", str(destination / "usr"), version], check=True)
