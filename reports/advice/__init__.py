"""What to change after a run: each advice with its evidence, expected gain and settings line."""

from __future__ import annotations

from reports.advice.advise import advise
from reports.advice.model import Advice, Advised

__all__ = ["Advice", "Advised", "advise"]
