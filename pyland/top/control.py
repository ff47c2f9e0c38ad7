# SPDX-License-Identifier: GPL-2.0-only
"""Asks the control socket, from a thread: a swap may take seconds, and the screen goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyland.errors import UsageError
from pyland.loading.folder import current_folder
from pyland.supervisor.control import PATH, ask

_STATUS_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Told:
    """The end of a request."""

    request: str
    """`status` or `swap`."""
    error: str = ""
    """Why it was refused, not escaped; empty if it was not."""
    answer: Mapping[str, Any] | None = None


class Control:
    """One request at a time."""

    def __init__(self, wake: Callable[[], None], path: Path = PATH) -> None:
        """`wake` is called from a thread when a request has ended."""
        self._wake, self._path = wake, path
        self._told: Told | None = None
        self._busy = False

    def status(self) -> bool:
        """Ask for the status, and so if this user may ask; False while another request lasts."""
        return self._begin("status", {}, _STATUS_WITHIN_S)

    def swap(self, text: str) -> bool:
        """Swap to the policy and the options that `text` names, as `policy name=value ...`."""
        policy, *options = text.split()
        try:
            folder = str(current_folder(policy))
        except UsageError as error:
            self._told = Told("swap", str(error))
            return True
        values = {"policy": policy, "options": options, "folder": folder}
        return self._begin("swap", values, 30.0)

    def take(self) -> Told | None:
        """The end of the request, once; None while it lasts."""
        told, self._told = self._told, None
        if told is not None:
            self._busy = False
        return told

    def _begin(self, command: str, values: Mapping[str, Any], within_s: float) -> bool:
        if self._busy:
            return False
        self._busy = True
        request = {"command": command, **values}

        def run() -> None:
            try:
                answer = ask(request, self._path, within_s)
            except UsageError as error:
                self._told = Told(command, str(error))
            else:
                error_text = "" if answer["ok"] else str(answer.get("error"))
                self._told = Told(command, error_text, answer)
            self._wake()

        threading.Thread(target=run, daemon=True, name="control").start()
        return True
