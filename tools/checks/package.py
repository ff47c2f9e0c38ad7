# SPDX-License-Identifier: GPL-2.0-only
"""The check of the package: whether sdist and wheel have all that a user needs."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import venv
from pathlib import Path

from tools.checks.running import PYTHON, ROOT, Outcome, all_of, call


def package() -> Outcome:
    """An sdist, the wheel that is built from it, and that wheel in an empty environment."""
    with tempfile.TemporaryDirectory(prefix="pyland-package-") as name:
        folder = Path(name)
        # In a copy, because a build leaves files in its tree.
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        for file in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / file).is_file():
                (folder / "tree" / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / file, folder / "tree" / file)
        # `build` makes the wheel from the sdist, so a file that the sdist lacks is noticed.
        build = (PYTHON, "-m", "build", "--no-isolation", "--outdir", name)
        if call(*build, folder / "tree", quiet=True):
            return Outcome(failed=1, note="sdist or wheel did not build")
        wheel = next(folder.glob("*.whl"))
        venv.create(folder / "venv", with_pip=True)
        inside = folder / "venv" / "bin"
        if call(inside / "pip", "install", "--quiet", "--disable-pip-version-check", wheel):
            return Outcome(failed=1, note="the wheel did not install")
        probe = folder / "probe.py"
        probe.write_text(INSTALLED, encoding="utf-8")
        return all_of(
            [inside / "pyland", "--version"],
            [inside / "scx_pyland", "--version"],
            [inside / "python", probe],
        )


# Run where only the wheel is installed: the package must have all that a user needs.
INSTALLED = """\
import pathlib, sys, pyland._native
package = pathlib.Path(pyland.__file__).parent
for name in ("pyland.bpf.o", "trace.bpf.o"):
    assert (package / name).read_bytes().startswith(b"\\x7fELF"), f"no {name}"
mapped = {line.split()[-1] for line in open("/proc/self/maps") if "libbpf" in line}
for name in (
    "lib/systemd/system/pyland.service", "share/man/man1/pyland.1", "share/pyland/grafana.json",
    "share/bash-completion/completions/pyland", "share/zsh/site-functions/_pyland",
):
    assert (pathlib.Path(sys.prefix) / name).stat().st_size, name
assert mapped == {str(package.resolve() / "libbpf.so.1")}, f"not the package's libbpf: {mapped}"
"""
