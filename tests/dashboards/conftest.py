"""What the tests of boards and rules share: one life of everything, lived once."""

from __future__ import annotations

from tests.dashboards.live import live

__all__ = ["live"]
