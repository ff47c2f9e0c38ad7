# SPDX-License-Identifier: GPL-2.0-only
"""What pyproject.toml cannot say: how the BPF object and the C core get into the package."""

import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import PlatformError

# A build backend runs without the project's folder on the path.
sys.path.insert(0, str(Path(__file__).parent))

from tools.build import toolchain


class BuildNative(build_ext):
    """Builds the extension, and puts the BPF object and libbpf beside it."""

    def run(self) -> None:
        """Build all into the package, wherever setuptools wants that to be."""
        try:
            libbpf = toolchain.find_libbpf()
            toolchain.find_clang()  # before minutes of C, not after
            (native,) = self.extensions
            native.include_dirs.append(str(libbpf.include))
            native.extra_objects.append(str(libbpf.library))
            # The package brings its libbpf: distributions' static ones are not
            # position-independent, and the user's machine may have an old one.
            native.extra_link_args.append("-Wl,-rpath,$ORIGIN")
            super().run()
            package = Path(self.get_ext_fullpath(native.name)).parent
            (package / "_layout.py").write_text(
                f'"""Made by the build, to be compared with the native parts."""\n\n'
                f"LAYOUT = {toolchain.layout().removesuffix('ULL')}\n",
                encoding="utf-8",
            )
            library = package / "libbpf.so.1"
            library.unlink(missing_ok=True)  # a running pyland keeps the one it has mapped
            shutil.copyfile(libbpf.library, library)
            # Its licence asks for its notice wherever it goes.
            for folder in libbpf.library.parents:
                notice = folder / "share" / "doc" / "libbpf1" / "copyright"
                if notice.exists():
                    shutil.copyfile(notice, package / "libbpf.copyright")
            toolchain.compile_bpf(Path("bpf/pyland.bpf.c"), package / "pyland.bpf.o", libbpf)
        except toolchain.ToolchainError as error:
            raise PlatformError(str(error)) from error


setup(
    cffi_modules=["tools/build/build_native.py:ffibuilder"],
    # Not an entry point: it starts Python in isolated mode, and no generated script does.
    scripts=["pyland/cli/pyland"],
    cmdclass={"build_ext": BuildNative},
)
