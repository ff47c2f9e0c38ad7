# SPDX-License-Identifier: GPL-2.0-only
"""A client of the statistics socket, in the protocol of scx_stats."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pyland.errors import UsageError
from pyland.output.printing import escape

ANSWER_MAX = 1 << 20
"""The most bytes of an answer."""


class NoServerError(Exception):
    """No server listens, or it has ended or gives no answer; it may come back."""


class Client:
    """A connection; the server counts from its first `stats` on."""

    def __init__(self, path: Path, timeout_s: float = 10.0) -> None:
        """Connect. Raises NoServerError, and UsageError where waiting would not help."""
        self._path = path
        self._timeout_s = timeout_s
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._received = b""
        try:
            self._socket.settimeout(timeout_s)
            self._socket.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            self._socket.close()
            raise NoServerError(f"no server listens at {path}") from None
        except PermissionError:
            self._socket.close()
            raise UsageError(
                f"{path}: not allowed to this user; pyland's --stats-group and --stats-mode "
                "set which users may connect"
            ) from None
        except (TimeoutError, BlockingIOError):
            self._socket.close()
            raise NoServerError(f"{path}: the server does not take the connection") from None
        except OSError as error:
            self._socket.close()
            raise UsageError(f"{path}: {error.strerror or error}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def request(self, name: str, **args: str) -> Any:
        """The answer's value. Raises NoServerError, and UsageError for an answer with an error."""
        line = json.dumps({"req": name, "args": args}).encode() + b"\n"
        until_s = time.monotonic() + self._timeout_s
        try:
            self._socket.settimeout(self._timeout_s)
            self._socket.sendall(line)
            while b"\n" not in self._received:
                self._socket.settimeout(max(until_s - time.monotonic(), 0.001))
                data = self._socket.recv(1 << 16)
                if not data:
                    raise NoServerError(f"{self._path}: the server has ended the connection")
                self._received += data
                if len(self._received) > ANSWER_MAX:
                    raise UsageError(f"{self._path}: an answer of more than {ANSWER_MAX} bytes")
        except TimeoutError:
            told = f"the server gave no answer within {self._timeout_s:g} s"
            raise NoServerError(f"{self._path}: {told}") from None
        except OSError as error:
            raise NoServerError(f"{self._path}: {error.strerror or error}") from None
        answer, _, self._received = self._received.partition(b"\n")
        try:
            found = json.loads(answer)
            number, value = found["errno"], found["args"]["resp"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise UsageError(f"{self._path}: the server does not speak scx_stats") from None
        if number != 0:
            raise UsageError(f"{self._path}: {escape(str(value))[:500]}")
        return value
