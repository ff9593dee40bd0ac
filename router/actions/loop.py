"""From the alerts of a delivery to actions: decided, entered in the audit log, carried out, told.

Nothing is done that could not be entered before. What was done is read back from the log at the
start, so that a router that is restarted keeps to the limits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from firsttoken.core.catalogue import Action, ActionResult
from router.actions.audit import AuditLog
from router.actions.delivery import Alert
from router.actions.hands import SLOW, Asked, Hands
from router.actions.policy import Acted, Decision, Event, State, decide
from router.actions.restart import Outcome
from router.actions.settings import AlertRules

_log = logging.getLogger(__name__)

_AT_ONCE = 50
"""Alerts decided before others are served again."""

_DONE: Mapping[bool, frozenset[str]] = {
    True: frozenset({ActionResult.DRY_RUN, ActionResult.STARTED}),
    False: frozenset({ActionResult.STARTED}),
}
"""By whether it is a dry run: results in the log that count towards the limits."""

Tell = Callable[[Action, ActionResult], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one alert."""

    fingerprint: str
    action: str | None
    result: ActionResult
    why: str


class AlertLoop:
    """The loop of one router; it outlives its settings.

    Args:
        rules: what may be done.
        hands: who does it now.
        tell: is told each action and what became of it.
        unix_s: the time of day.
    """

    def __init__(
        self,
        rules: AlertRules,
        hands: Callable[[], Hands],
        tell: Tell,
        *,
        unix_s: Callable[[], float] = time.time,
    ) -> None:
        self.rules = rules
        self._hands = hands
        self._tell = tell
        self._unix_s = unix_s
        self._log = AuditLog(rules.audit_log)
        self._state = State()
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Read what was done before, where there is a log of it."""
        if self.rules.enable:
            told = await asyncio.to_thread(self._log.read)
            self._state = remembered(told, dry_run=self.rules.policy.dry_run)

    async def configure(self, rules: AlertRules) -> None:
        """Go on by other settings; what was done still counts, unless it was only tried."""
        async with self._turn:
            was_dry, opened = self.rules.policy.dry_run, rules.enable and not self.rules.enable
            self.rules = rules
            self._log = AuditLog(rules.audit_log)
            if opened or (was_dry and not rules.policy.dry_run):
                await self.start()

    async def deliver(self, alerts: Sequence[Alert]) -> list[Answer]:
        """Act on the alerts of one delivery, in order; return what became of each."""
        async with self._turn:
            now_s = self._unix_s()
            killed = await asyncio.to_thread(_exists, self.rules.kill_switch)
            decisions: list[Decision] = []
            for number, alert in enumerate(alerts, start=1):
                event = self._event(alert, killed)
                decision = decide(event, self._state, self.rules.policy, now_s)
                self._state = decision.state
                decisions.append(decision)
                if number % _AT_ONCE == 0:
                    await asyncio.sleep(0)
            pairs = list(zip(alerts, decisions, strict=True))
            lines = [_line(now_s, alert, decision) for alert, decision in pairs]
            written = await self._enter([_delivery(now_s, len(alerts)), *lines])
            return [await self._answer(alert, each, written) for alert, each in pairs]

    async def aclose(self) -> None:
        """Give up what is under way; a program that restarts an engine is not broken off."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _event(self, alert: Alert, killed: bool) -> Event:
        situation = self._hands().situation(killed=killed)
        return Event(
            alert.name, alert.action, alert.fingerprint, alert.starts_s, alert.firing, situation
        )

    async def _answer(self, alert: Alert, decision: Decision, written: bool) -> Answer:
        action, result, why = decision.action, decision.result, decision.why
        if decision.acts and not written:
            result = ActionResult.REFUSED
            why = "the audit log cannot be written: nothing is done that is not entered"
        elif decision.acts and action is not None:
            asked = Asked(alert.name, alert.fingerprint)
            if action not in SLOW:
                outcome = await self._perform(action, asked)
                return Answer(alert.fingerprint, action, outcome.result, outcome.detail)
            self._later(action, asked)
            why = "it goes on; how it ends is entered in the audit log"
        if action is not None:
            self._tell(action, result)
        return Answer(alert.fingerprint, action, result, why)

    async def _perform(self, action: Action, asked: Asked) -> Outcome:
        """Carry an action out, tell and enter how it ended."""
        outcome = await self._hands().perform(action, asked)
        _log.warning("%s %s: %s (%s)", action, outcome.result, outcome.detail, asked.name)
        self._tell(action, outcome.result)
        line = {
            "kind": "end",
            "at": round(self._unix_s(), 3),
            "alertname": asked.name,
            "fingerprint": asked.fingerprint,
            "action": action,
            "result": outcome.result,
            "why": outcome.detail,
        }
        await self._enter([line])
        return outcome

    def _later(self, action: Action, asked: Asked) -> None:
        async def work() -> None:
            await self._perform(action, asked)

        task = asyncio.get_running_loop().create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _enter(self, lines: Iterable[Mapping[str, Any]]) -> bool:
        """Write lines to the audit log; say whether that could be done."""
        try:
            await asyncio.to_thread(self._log.add, lines)
        except OSError as error:
            why = error.strerror or type(error).__name__
            _log.error("the audit log %s cannot be written: %s", self._log.path, why)
            return False
        return True


def _exists(path: Path) -> bool:
    """Say whether the kill switch is on; where that cannot be told, it is."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _delivery(now_s: float, alerts: int) -> dict[str, Any]:
    """Return the line of a delivery, which is entered even where it holds no alert."""
    return {"kind": "delivery", "at": round(now_s, 3), "alerts": alerts}


def _line(now_s: float, alert: Alert, decision: Decision) -> dict[str, Any]:
    """Return the line of a decision. What else a sender wrote is not kept."""
    return {
        "kind": "decision",
        "at": round(now_s, 3),
        "alertname": alert.name,
        "fingerprint": alert.fingerprint,
        "starts": alert.starts_s,
        "firing": alert.firing,
        "asked": alert.action,
        "action": decision.action,
        "result": decision.result,
        "why": decision.why,
    }


def remembered(lines: Iterable[bytes], *, dry_run: bool) -> State:
    """Return the state after the decisions in an audit log, oldest first; lines that are none of
    ours are passed over."""
    acted = []
    for line in lines:
        try:
            told = orjson.loads(line)
            if told["kind"] == "decision" and told["result"] in _DONE[dry_run]:
                key = (str(told["fingerprint"]), float(told["starts"]), Action(told["action"]))
                acted.append(Acted(key, float(told["at"])))
        except (ValueError, KeyError, TypeError):
            continue
    return State(acted=tuple(acted))
