# SPDX-License-Identifier: GPL-2.0-only
"""Builds what pyproject.toml cannot describe: the extension, the BPF object, the manual pages."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import PlatformError

# A build backend runs without the project's folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

from tools.build import manual, toolchain

MADE = Path("build/manual")


class BuildNative(build_ext):
    """Builds the extension, puts the BPF object and libbpf beside it, and makes the manual."""

    def run(self) -> None:
        """Build everything into the folder that setuptools chose for the package.

        The manual goes where `data_files` expects it: this is the step before they are copied.
        """
        manual.make(MADE)
        try:
            libbpf = toolchain.find_libbpf()
            toolchain.find_clang()  # fails at once rather than after the C files
            (native,) = self.extensions
            native.include_dirs.append(str(libbpf.include))
            native.extra_objects.append(str(libbpf.library))
            # The package has its own libbpf: that of the user's machine may be too old, and the
            # static ones of distributions are not position-independent.
            native.extra_link_args.append("-Wl,-rpath,$ORIGIN")
            super().run()
            package = Path(self.get_ext_fullpath(native.name)).parent
            (package / "_layout.py").write_text(
                f'"""The layout of this build, as C and BPF have it, and the version."""'
                f"\n\nLAYOUT = {toolchain.layout().removesuffix('ULL')}\n"
                f'VERSION = "{self.distribution.get_version()}"\n',
                encoding="utf-8",
            )
            library = package / "libbpf.so.1"
            library.unlink(missing_ok=True)  # a running pyland has it mapped: no write into it
            shutil.copyfile(libbpf.library, library)
            # Its licence wants its notice in every copy.
            for folder in libbpf.library.parents:
                notice = folder / "share" / "doc" / "libbpf1" / "copyright"
                if notice.exists():
                    shutil.copyfile(notice, package / "libbpf.copyright")
            for name in ("pyland.bpf", "trace.bpf"):
                toolchain.compile_bpf(Path(f"bpf/{name}.c"), package / f"{name}.o", libbpf)
        except toolchain.ToolchainError as error:
            raise PlatformError(str(error)) from error


DATA: list[tuple[str, Sequence[str]]] = [
    ("lib/systemd/system", ["service/pyland.service"]),
    ("share/pyland", ["service/pyland.default", "service/grafana.json", "service/prometheus.yml"]),
    *((str(Path(name).parent), [str(MADE / name)]) for name in manual.FILES),
]

setup(
    cffi_modules=["tools/build/build_native.py:ffibuilder"],
    # No entry point: a generated script does not start Python in isolated mode.
    scripts=["pyland/cli/pyland", "pyland/cli/scx_pyland"],
    data_files=DATA,
    cmdclass={"build_ext": BuildNative},
)
