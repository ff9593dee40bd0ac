"""Checks of boards: the seventeen rules of Grafana's dashboard-linter under their ids, with no
exclusion, and our own. One check is one function from a board to what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from dashboards.lint import own_rules, panel_rules, target_rules, template_rules
from dashboards.lint.view import View

Check = Callable[[View], Iterator[str]]

GRAFANA_RULES: dict[str, Check] = {
    "template-datasource-rule": template_rules.template_datasource,
    "template-job-rule": template_rules.template_job,
    "template-instance-rule": template_rules.template_instance,
    "template-label-promql-rule": template_rules.template_label_promql,
    "template-on-time-change-reload-rule": template_rules.template_on_time_change_reload,
    "panel-datasource-rule": panel_rules.panel_datasource,
    "panel-title-description-rule": panel_rules.panel_title_description,
    "panel-units-rule": panel_rules.panel_units,
    "panel-no-targets-rule": panel_rules.panel_no_targets,
    "target-logql-rule": target_rules.target_logql,
    "target-logql-auto-rule": target_rules.target_logql_auto,
    "target-promql-rule": target_rules.target_promql,
    "target-rate-interval-rule": target_rules.target_rate_interval,
    "target-job-rule": target_rules.target_job,
    "target-instance-rule": target_rules.target_instance,
    "target-counter-agg-rule": target_rules.target_counter_agg,
    "uneditable-dashboard-rule": template_rules.uneditable_dashboard,
}
"""The rules of Grafana's linter, by its ids."""

OWN_RULES: dict[str, Check] = {
    "metric-known": own_rules.metric_known,
    "label-known": own_rules.label_known,
    "bucket-edge-kept": own_rules.bucket_edge_kept,
    "unit-fits": own_rules.unit_fits,
    "description-complete": own_rules.description_complete,
    "field-defaults": own_rules.field_defaults,
    "tier-colours": own_rules.tier_colours,
    "no-datasource-literal": own_rules.no_datasource_literal,
    "layout": own_rules.layout,
    "frame": own_rules.frame,
}
"""Our own."""

RULES: dict[str, Check] = {**GRAFANA_RULES, **OWN_RULES}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a board."""

    rule: str
    board: str
    text: str

    def __str__(self) -> str:
        return f"{self.board}: {self.rule}: {self.text}"


def lint(board: dict[str, Any]) -> list[Finding]:
    """Return everything that is wrong with a board's JSON."""
    view = View(board)
    return [
        Finding(rule, view.title, text) for rule, check in RULES.items() for text in check(view)
    ]
