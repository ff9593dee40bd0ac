"""Which backend should not come first at this moment, and why: from the mode and the queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from firsttoken.core.catalogue import Mode
from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import Reason

_SHARED = {Mode.HYBRID: Reason.LOCAL_SLOW, Mode.REDUCED_LOCAL: Reason.LOCAL_OVERLOADED}
"""Modes in which a part of the requests goes elsewhere."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """How a local backend stands."""

    mode: Mode = Mode.NORMAL
    local_share: float = 1.0
    """What stays local in the modes that share."""
    full: bool = False
    """Whether its queue takes nobody in."""
    wait_s: float = 0.0
    """Predicted wait for a slot, seconds."""
    own_s: float = 0.0
    """Its usual first token once it is asked, seconds; 0 where that is not known yet."""
    other_s: float | None = None
    """The usual first token of the best other backend, seconds; None where it is not known."""


def avoid(local: Backend, pressure: Pressure, draw: float) -> Mapping[str, Reason]:
    """Return the backends that should not come first, each with the reason.

    A wait for a slot breaks the deadline where the first token after it would come later than the
    other backend's usual one; where that is not known, later than the local deadline.
    """
    reason: Reason | None = None
    if pressure.mode is Mode.REMOTE_ONLY:
        reason = Reason.MODE_REMOTE_ONLY
    elif pressure.mode in _SHARED and draw >= pressure.local_share:
        reason = _SHARED[pressure.mode]
    elif pressure.full:
        reason = Reason.QUEUE_FULL
    elif pressure.wait_s > 0:
        deadline_s = min(
            pressure.other_s or local.first_token_timeout_s, local.first_token_timeout_s
        )
        if pressure.wait_s + pressure.own_s > deadline_s:
            reason = Reason.PREDICTED_LATE
    return {} if reason is None else {local.name: reason}
