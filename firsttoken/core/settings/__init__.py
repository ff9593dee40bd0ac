"""Settings: YAML files and the environment in, typed and frozen values out."""

from __future__ import annotations

from firsttoken.core.settings.backend import LOCAL_BACKEND, Backend
from firsttoken.core.settings.conditions import Condition, Kind
from firsttoken.core.settings.defaults import DEFAULT_PATH, packaged
from firsttoken.core.settings.loading import from_mapping, load
from firsttoken.core.settings.settings import Settings

__all__ = [
    "DEFAULT_PATH",
    "LOCAL_BACKEND",
    "Backend",
    "Condition",
    "Kind",
    "Settings",
    "from_mapping",
    "load",
    "packaged",
]
