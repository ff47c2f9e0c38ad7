# SPDX-License-Identifier: GPL-2.0-only
"""The client of the control socket.

It imports nothing of policies and no native part: `pyland status` is done sooner than these are
imported.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pyland.errors import UsageError

PATH = "/run/pyland/control.sock"
ANSWER_MAX = 1 << 20
"""The most bytes of an answer that a client reads."""
ONLY = "only root and the user who started pyland may ask it"


def encode_line(values: Mapping[str, Any]) -> bytes:
    """A request or an answer as a line of JSON; values that JSON has no type for become texts."""
    return json.dumps(values, default=str).encode() + b"\n"


def ask(
    request: Mapping[str, Any], path: str | os.PathLike[str] = PATH, timeout_s: float = 30.0
) -> dict[str, Any]:
    """The answer of the running pyland; raises UsageError if none comes within `timeout_s`."""
    until_s = time.monotonic() + timeout_s
    data = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        try:
            server.settimeout(timeout_s)
            server.connect(os.fspath(path))
            # The server may refuse the request before it has read all of it.
            with suppress(BrokenPipeError, ConnectionResetError):
                server.sendall(encode_line(request))
            while not data.endswith(b"\n") and len(data) < ANSWER_MAX:
                server.settimeout(max(until_s - time.monotonic(), 0.001))
                more = server.recv(1 << 16)
                if not more:
                    break
                data += more
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            raise UsageError(f"pyland does not run here: no process listens at {path}") from None
        except PermissionError:
            raise UsageError(f"not allowed: {ONLY}") from None
        except TimeoutError:
            raise UsageError(f"pyland gave no answer within {timeout_s:g} s") from None
        except BlockingIOError:
            raise UsageError("pyland has more clients than it serves at once; try again") from None
        except OSError as error:
            raise UsageError(f"the control socket {path}: {error.strerror or error}") from None
    try:
        answer = json.loads(data)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
        raise UsageError("pyland ended the connection without an answer") from None
    return answer
