# SPDX-License-Identifier: GPL-2.0-only
"""The orders that the supervisor sends to the worker; `messages` has the worker's answers."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field

from pyland.loading.wanted import Wanted

_NUMBER_BYTES = 16


def new_number() -> str:
    """A number for an order: random, so that no earlier message can be its answer."""
    return secrets.token_hex(_NUMBER_BYTES)


@dataclass(frozen=True)
class SwapOrder:
    """Let the policy `wanted` take over; with `reload` its files are read again.

    With a `layer` it takes over in this part of the present policy.
    """

    wanted: Wanted
    reload: bool = False
    layer: str = ""
    number: str = field(default_factory=new_number)
    """The answer carries it back."""

    def encode(self) -> bytes:
        """The order as bytes for `decode`."""
        return json.dumps(asdict(self)).encode()


def decode(data: bytes) -> SwapOrder:
    """The order in these bytes, which root has written; raises ValueError if they are none."""
    try:
        values = json.loads(data)
        wanted = values["wanted"]
        return SwapOrder(
            Wanted(**{**wanted, "given": tuple(wanted["given"])}),
            reload=values["reload"],
            layer=values["layer"],
            number=values["number"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no order: {error}") from None
