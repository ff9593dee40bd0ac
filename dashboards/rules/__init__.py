"""Recording rules, alerts, and the settings of Prometheus and Alertmanager, made from the catalogue
of metrics and the targets."""

from __future__ import annotations

from dashboards.rules.emit import FILES, files, write_rules

__all__ = ["FILES", "files", "write_rules"]
