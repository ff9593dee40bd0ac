"""The closed list of actions, each as what is done for it to the backends that are served now."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from firsttoken.core.catalogue import Action, ActionResult, Mode
from router.actions.policy import Situation
from router.actions.restart import Outcome, Restarter
from router.actions.settings import AlertRules
from router.health.monitor import Monitor
from router.health.watch import Watch

_log = logging.getLogger(__name__)

SLOW = frozenset({Action.INVESTIGATE_PERFORMANCE, Action.RESTART_SERVICE})
"""Actions that last longer than whoever asked for them waits for an answer."""

_OF_MEMORY = "Memory"
"""In the name of an alert that asks for a restart to free memory."""

Capture = Callable[[Mapping[str, object]], Awaitable[Path]]
"""Writes a snapshot, with these words on top of it, and returns where. Raises OSError."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked for an action."""

    name: str
    """Of the alert; one of the names that the settings know."""
    fingerprint: str


class Hands:
    """Carries actions out.

    Args:
        local: the local backend's name, or None.
        remotes: names of the remote backends.
        rules: what the settings say of actions.
        monitor: the circuits.
        watch: the mode.
        restarter: restarts the local engine; None where nothing does.
        capture: writes a snapshot.
    """

    def __init__(
        self,
        local: str | None,
        remotes: Iterable[str],
        *,
        rules: AlertRules,
        monitor: Monitor,
        watch: Watch,
        restarter: Restarter | None,
        capture: Capture,
    ) -> None:
        self._local = local
        self._remotes = frozenset(remotes)
        self._rules = rules
        self._monitor = monitor
        self._watch = watch
        self._restarter = restarter
        self._capture = capture
        self._ways: Mapping[Action, Callable[[Asked], Awaitable[Outcome]]] = {
            Action.INVESTIGATE_PERFORMANCE: self._investigate,
            Action.SWITCH_TO_REMOTE: self._switch,
            Action.RESTART_SERVICE: self._restart,
            Action.REDUCE_LOCAL_TRAFFIC: self._reduce,
        }

    def situation(self, *, killed: bool) -> Situation:
        """Return what stands against actions now; ``killed``: the kill switch is on."""
        mode = self._watch.state.mode
        restarter = self._restarter
        return Situation(
            killed=killed,
            local=self._local is not None,
            remote_usable=mode is not Mode.LOCAL_ONLY
            and bool(self._remotes - self._monitor.blocked),
            adapter=restarter is not None,
            restarting=restarter is not None and restarter.under_way,
            restarted_ago_s=restarter.ended_ago_s if restarter else None,
            shared=mode not in {Mode.LOCAL_ONLY, Mode.REMOTE_ONLY},
        )

    async def perform(self, action: Action, asked: Asked) -> Outcome:
        """Carry an action out; raises nothing."""
        try:
            return await self._ways[action](asked)
        except Exception as error:  # noqa: BLE001 - whoever asked has to be told, whatever it is
            _log.exception("the action %s failed", action)
            return Outcome(ActionResult.FAILED, f"{type(error).__name__} (see the log)")

    async def _investigate(self, asked: Asked) -> Outcome:
        try:
            path = await self._capture({"alert": asked.name, "fingerprint": asked.fingerprint})
        except OSError as error:
            why = f"the snapshot could not be written: {error.strerror or type(error).__name__}"
            return Outcome(ActionResult.FAILED, why)
        return Outcome(ActionResult.SUCCEEDED, f"captured in {path}; nothing was changed")

    async def _switch(self, asked: Asked) -> Outcome:  # noqa: ARG002 - one signature for all
        name = self._local
        if name is None:
            return Outcome(ActionResult.REFUSED, "there is no local backend")
        was_out = name in self._monitor.blocked
        self._monitor.take_out(name, self._rules.hold_s, self._rules.probes)
        told = f"{self._rules.probes} probes in a row have to succeed before it gets requests"
        before = "was open already" if was_out else "is open"
        return Outcome(ActionResult.SUCCEEDED, f"the circuit of {name} {before}: {told}")

    async def _restart(self, asked: Asked) -> Outcome:
        if self._restarter is None:
            return Outcome(ActionResult.REFUSED, "nothing is configured that restarts the engine")
        dead = self._restarter.backend in self._monitor.blocked
        return await self._restarter.restart(drain=not dead, memory=_OF_MEMORY in asked.name)

    async def _reduce(self, asked: Asked) -> Outcome:  # noqa: ARG002 - one signature for all
        refusal = self._watch.lower_share()
        if refusal:
            return Outcome(ActionResult.REFUSED, refusal)
        share = self._watch.state.local_share
        return Outcome(ActionResult.SUCCEEDED, f"the local share is {share:.0%}, and rises again")
