"""Pictures of boards without Grafana: the same JSON, the same queries, drawn here."""

from __future__ import annotations

from dashboards.preview.fields import Window
from dashboards.preview.render import draw, render
from dashboards.preview.source import Prometheus, Source

__all__ = ["Prometheus", "Source", "Window", "draw", "render"]
