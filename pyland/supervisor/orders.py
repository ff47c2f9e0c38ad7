# SPDX-License-Identifier: GPL-2.0-only
"""The orders that the supervisor sends to the worker; `messages` has the worker's answers."""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from pyland.loading.wanted import Wanted

_NUMBER_BYTES = 16


def new_number() -> str:
    """A number for an order: random, so that no earlier message can be its answer."""
    return os.urandom(_NUMBER_BYTES).hex()


class SwapOrder(NamedTuple):
    """Let the policy `wanted` take over; with `reload` its files are read again.

    With a `layer` it takes over in this part of the present policy.
    """

    wanted: Wanted
    number: str
    """A `new_number`; the answer carries it back."""
    reload: bool = False
    layer: str = ""

    def encode(self) -> bytes:
        """The order as bytes for `decode`."""
        return json.dumps({**self._asdict(), "wanted": self.wanted._asdict()}).encode()


def decode(data: bytes) -> SwapOrder:
    """The order in these bytes, which root has written; raises ValueError if they have none."""
    try:
        values = json.loads(data)
        wanted = values["wanted"]
        return SwapOrder(
            Wanted(**{**wanted, "given": tuple(wanted["given"])}),
            values["number"],
            reload=values["reload"],
            layer=values["layer"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no order: {error}") from None
