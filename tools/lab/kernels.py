# SPDX-License-Identifier: GPL-2.0-only
"""Kernels with sched_ext for the lab: Debian's own, or one that lies in a folder.

Debian 13's backports carry the 7.x series with sched_ext. Of older ones the archive keeps the
image but not the modules; only kernels with both are offered, for the lab's file system is one.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tools.lab import debian

SUITE = "trixie-backports"
ARCHITECTURE = "amd64"
ROOT = Path(__file__).resolve().parents[2]
_ZSTD = b"\x28\xb5\x2f\xfd"
_PVH_NOTE = struct.pack("<I", 18) + b"Xen\0"  # XEN_ELFNOTE_PHYS32_ENTRY


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
    kernel = _known(wanted) or _download(wanted)
    return dataclasses.replace(kernel, image=_unpacked(kernel.image))


def _known(wanted: str) -> Kernel | None:
    cached = _cached()
    pinned = cache() / wanted
    if pinned.is_file() and pinned.read_text() in cached:
        return cached[pinned.read_text()]
    try:
        return cached[choose(wanted, list(cached) if number(wanted) else [])]
    except NoKernelError:
        return None


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
        if (path.parent / "modules.dep").exists()
    }


def _offered(suite: debian.Suite) -> list[str]:
    def versions(kind: str) -> set[str]:
        names = suite.names(rf"linux-{kind}-7\.\d+\.\d+\+deb\d+-{ARCHITECTURE}")
        return {name.removeprefix(f"linux-{kind}-") for name in names}

    return sorted(versions("binary") & versions("modules"), key=number)


def _download(wanted: str) -> Kernel:
    cache().mkdir(parents=True, exist_ok=True)
    # A second lab that wants the same waits for it.
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if kernel := _known(wanted):
            return kernel
        try:
            with tempfile.TemporaryDirectory(dir=cache(), prefix=".lists-") as state:
                suite = debian.Suite(SUITE, Path(state))
                version = choose(wanted, _offered(suite))
                if version not in _cached():
                    print(f"vm: downloading kernel {version}, once", file=sys.stderr)
                    packages = [f"linux-{kind}-{version}" for kind in ("binary", "modules", "base")]
                    debian.unpack(suite, packages, cache() / version)
                    _index_modules(cache() / version, version)
        except debian.DebianError as error:
            raise NoKernelError(f"kernel {wanted} cannot be fetched: {error}") from error
        if not number(wanted):
            (cache() / wanted).write_text(version)
        return _cached()[version]


def _index_modules(destination: Path, version: str) -> None:
    """Debian makes modules.dep when it installs a kernel; this one is only unpacked."""
    depmod = shutil.which("depmod") or "/usr/sbin/depmod"
    try:
        subprocess.run([depmod, "-b", str(destination / "usr"), version], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoKernelError(f"kernel {version}: its modules have no index: {error}") from error


def _unpacked(image: Path) -> Path:
    """The kernel inside a compressed image, or the image where QEMU cannot enter what is inside.

    To unpack itself takes an emulated kernel 1.5 to 2.5 s of each boot.
    """
    inside = image.with_name("vmlinux")
    if inside.exists():
        return inside
    data = image.read_bytes()
    # "The Linux/x86 Boot Protocol": setup_sects, payload_offset, payload_length.
    setup = (data[0x1F1] or 4) + 1
    offset, length = struct.unpack_from("<II", data, 0x248)
    payload = data[setup * 512 + offset :][:length]
    if not payload.startswith(_ZSTD) or not shutil.which("zstd"):
        return image
    # Its last four bytes are the size of what is inside.
    done = subprocess.run(["zstd", "-dcq"], input=payload[:-4], capture_output=True, check=False)
    if done.returncode or not done.stdout.startswith(b"\x7fELF") or _PVH_NOTE not in done.stdout:
        return image
    with tempfile.NamedTemporaryFile(dir=image.parent, prefix=".vmlinux-", delete=False) as file:
        file.write(done.stdout)
    os.replace(file.name, inside)
    return inside
