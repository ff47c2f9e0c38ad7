# SPDX-License-Identifier: GPL-2.0-only
"""The parts of a composed policy in the process that decides: their failures and their swaps."""

from __future__ import annotations

import time
from typing import Any

from pyland.compose import Composed
from pyland.engine import guard
from pyland.engine.channel import Channel
from pyland.engine.loop import DispatchLoop
from pyland.errors import UsageError
from pyland.loading.finder import Choice
from pyland.loading.wanted import Wanted
from pyland.policy import Policy
from pyland.supervisor import messages, privileges


class PartFailedError(BaseException):
    """A part failed and `--strict` was given, so the whole policy has failed; it was reported."""


class Parts:
    """The failures and swaps in the parts of the policy that schedules."""

    def __init__(self, channel: Channel, *, strict: bool) -> None:
        """`channel` leads to the supervisor."""
        self._channel = channel
        self._strict = strict
        self._failures: dict[str, guard.Failures] = {}
        self._choices: dict[str, Choice] = {}

    def start_anew(self) -> None:
        """Begin with another policy, which schedules from here on."""
        self._failures.clear()
        self._choices.clear()

    def leave(self, policy: Policy) -> None:
        """Free at once what the policy has, because another policy takes over."""
        if isinstance(policy, Composed):
            policy.leave()

    def failed(self, part: str, policy: str, error: BaseException) -> None:
        """Report a failure once for each place and kind; PartFailedError with `--strict`."""
        with privileges.memory_reserve():
            failures = self._failures.setdefault(part, guard.Failures())
            if report := failures.note(error, time.monotonic()):
                self._channel.tell(messages.Failure(f"part {part}: {policy}", report))
        if self._strict:
            raise PartFailedError

    def replaced(self, part: str, failed: str, why: str, policy: str) -> None:
        """Tell that another policy decides in a part."""
        self._forget(part)
        self._channel.deliver(messages.PartReplaced(part, failed, why, policy))

    def _forget(self, part: str) -> None:
        """Drop the swaps of a part and of the parts within it."""
        for layer in [*self._choices]:
            if layer == part or layer.startswith(f"{part}."):
                del self._choices[layer]

    def to_blame(self, loop: DispatchLoop) -> bool:
        """True if a part of the policy returned the list that was refused last."""
        policy, refused = loop.policy, loop.refused
        return refused is not None and isinstance(policy, Composed) and policy.blame(refused)

    def swap(self, policy: Policy, layer: str, wanted: Wanted) -> tuple[str, str]:
        """Let another policy take over in a part; the names of the one before and of this one.

        Raises UsageError, and then has changed nothing.
        """
        if not isinstance(policy, Composed):
            raise UsageError(f"--layer {layer}: policy {policy.name} has no layers")
        layer = policy.part_name(layer)

        def make() -> tuple[str, Choice]:
            choice = wanted.choose()
            return policy.swap_part(layer, choice.policy, choice.options), choice

        try:
            previous, choice = guard.making_a_policy(make)
        except UsageError:
            raise
        except guard.PolicyTookTooLongError as late:
            raise UsageError(f"--policy {wanted.spec}: {late}") from None
        except BaseException as error:
            raise UsageError(
                f"policy {wanted.spec} cannot be constructed: {guard.describe(error)}"
            ) from error
        self._forget(layer)
        self._choices[layer] = choice
        self._failures.pop(layer, None)
        return previous, choice.policy.name

    def swap_again(self, policy: Policy) -> bool:
        """After a restart: parts have the policies that they were swapped to; True if any has."""
        if not isinstance(policy, Composed):
            return False
        had_choices = bool(self._choices)
        for layer, choice in [*self._choices.items()]:

            def make(layer: str = layer, choice: Choice = choice) -> str:
                return policy.swap_part(layer, choice.policy, choice.options)

            try:
                guard.making_a_policy(make)
            except BaseException as error:
                if self._strict:
                    raise
                why = f"cannot go on after the restart: {guard.describe(error)}"
                goes_on = policy.part_names().get(layer, policy.name)
                self.replaced(layer, choice.policy.name, why, goes_on)
        return had_choices


def values(policy: Policy) -> dict[str, Any]:
    """The policy's options, and the policies of its parts."""
    found = {name: getattr(policy, name) for name in type(policy).options}
    if isinstance(policy, Composed):
        found |= {f"part {part}": name for part, name in policy.part_names().items()}
    return found
