# SPDX-License-Identifier: GPL-2.0-only
"""C code of this project, compiled for this machine and loaded as a module."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cffi import FFI


def compiled(folder: Path, name: str, declare: Callable[[FFI], None]) -> Any:
    """The functions of a module that `declare` describes; built once for each name."""
    library = next(folder.glob(f"{name}.*so"), None)
    if library is None:
        ffi = FFI()
        declare(ffi)
        folder.mkdir(parents=True, exist_ok=True)
        library = Path(ffi.compile(tmpdir=str(folder)))
    spec = importlib.util.spec_from_file_location(name, library)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.lib
