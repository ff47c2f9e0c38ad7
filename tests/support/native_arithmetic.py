# SPDX-License-Identifier: GPL-2.0-only
"""The functions of bpf/arithmetic.bpf.h, compiled for this machine and called by their names."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from cffi import FFI

from tests.support.native import compiled

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "bpf" / "arithmetic.bpf.h"
BUILD = ROOT / "build" / "arithmetic"

_TYPES = "typedef unsigned long long u64; typedef long long s64;\n"
_BEFORE = f"""
#include <stdbool.h>
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
{_TYPES}
"""
_FUNCTION = re.compile(r"^static __always_inline ((?:u64|s64|bool) \w+\([^)]*\))\n\{", re.MULTILINE)
_CONSTANT = re.compile(r"^#define ([A-Z_0-9]+)[ \t]+[(\w]", re.MULTILINE)


@cache
def native() -> Any:
    """A module with all functions and constants of the header; built once for each text of it."""
    text = HEADER.read_text(encoding="utf-8")
    functions, constants = _FUNCTION.findall(text), _CONSTANT.findall(text)
    assert len(functions) == text.count("static __always_inline"), "a function is not understood"
    name = f"arithmetic_{hashlib.sha256((text + _BEFORE).encode()).hexdigest()[:16]}"

    def declare(ffi: FFI) -> None:
        ffi.cdef(_TYPES)
        ffi.cdef("".join(f"{function};\n" for function in functions))
        ffi.cdef("".join(f"#define {constant} ...\n" for constant in constants))
        ffi.set_source(
            name,
            f'{_BEFORE}#include "{HEADER}"\n',
            extra_compile_args=["-O2", "-Wextra", "-Werror"],
        )

    return compiled(BUILD, name, declare)
