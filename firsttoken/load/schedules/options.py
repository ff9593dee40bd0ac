"""What can be set of each schedule; part of the run plan."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """Refuses unknown keys and wrong types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Arrivals(StrEnum):
    """How the gaps between two starts of an open loop are drawn."""

    CONSTANT = "constant"
    POISSON = "poisson"
    GAMMA = "gamma"


class OpenLoopOptions(Strict):
    """Starts by the clock, whatever became of those before."""

    rate: Annotated[float, Field(gt=0, le=10_000)] = 1.0
    """Starts a second."""
    arrivals: Arrivals = Arrivals.POISSON


class SessionsOptions(Strict):
    """Devices in conversation."""


class BurstOptions(Strict):
    """Devices that wake at the same moment."""


class ReplayOptions(Strict):
    """A trace that the user brought."""

    file: Path
