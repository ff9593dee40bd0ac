"""What every board has around its panels: variables, links to the others, marks in time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafanalib import core as grafana
from grafanalib._gen import DashboardEncoder

from dashboards import metrics, promql, queries, theme
from dashboards.modernize import modernize
from dashboards.panels import DATASOURCE, Row, laid_out
from dashboards.promql import Except, Like
from firsttoken.core.catalogue import Metric

TAG = "firsttoken"
EVERYTHING = ".+"
"""The value of a variable that leaves nothing out."""

_ON_TIME_RANGE_CHANGE = 2
_SHARED_CROSSHAIR = 1


@dataclass(frozen=True, slots=True)
class Board:
    """One board before it is JSON."""

    name: str
    """The file's name, and the end of the board's fixed uid."""
    title: str
    description: str
    rows: Sequence[Row]
    variables: Sequence[grafana.Template] = ()
    """Variables of its own, after the common ones."""

    @property
    def uid(self) -> str:
        """The address of the board in Grafana, the same on every machine."""
        return f"{TAG}-{self.name}"


def as_json(board: Board) -> dict[str, Any]:
    """Return the board as Grafana reads it."""
    dashboard = grafana.Dashboard(
        title=f"firsttoken / {board.title}",
        description=board.description,
        uid=board.uid,
        tags=[TAG],
        editable=False,
        graphTooltip=_SHARED_CROSSHAIR,
        timezone="browser",
        refresh="30s",
        time=grafana.Time("now-1h", "now"),
        links=[
            grafana.DashboardLink(
                title="Boards", tags=[TAG], asDropdown=True, includeVars=True, keepTime=True
            )
        ],
        annotations=grafana.Annotations(list=marks()),
        templating=grafana.Templating(list=[*_variables(), *board.variables]),
        panels=laid_out(board.rows),
    ).auto_panel_ids()
    written = json.dumps(dashboard.to_json_data(), cls=DashboardEncoder)
    return modernize(json.loads(written))


def _variables() -> list[grafana.Template]:
    source = grafana.Template(
        name="datasource",
        type="datasource",
        label="Data source",
        query="prometheus",
        refresh=1,
    )
    jobs: queries.Where = {"job": Like("$job")}
    both: queries.Where = {**jobs, "instance": Like("$instance")}
    return [
        source,
        _values("job", metrics.BUILD, {}),
        _values("instance", metrics.BUILD, jobs),
        _values("backend", metrics.REQUESTS, both),
        _values("model", metrics.REQUESTS, both),
    ]


def _values(label: str, metric: Metric, where: queries.Where) -> grafana.Template:
    return grafana.Template(
        name=label,
        label=label.capitalize(),
        query=f"label_values({promql.series(metric, where).text}, {label})",
        dataSource=DATASOURCE,
        includeAll=True,
        allValue=EVERYTHING,
        multi=True,
        refresh=_ON_TIME_RANGE_CHANGE,
        default="$__all",
    )


def marks() -> list[dict[str, Any]]:
    """Return the marks that all boards show: alerts, deploys, load tests, actions."""
    firing = promql.series(
        metrics.ALERTS, {"alertstate": "firing", "alertname": Except(("Watchdog",))}
    )
    version = promql.total(promql.series(metrics.BUILD, {"job": Like("$job")}), "version")
    before = promql.Query(f"{version.text.removesuffix(')')} offset 1m)")
    deployed = promql.Query(f"{version.text} unless {before.text}", compound=True)
    tests = promql.total(
        promql.series(metrics.LOAD_TEST, {"job": Like("$job")}), "run_id", "scenario", how="max"
    )
    taken = promql.total(
        promql.over("increase", promql.series(metrics.ACTIONS, {"job": Like("$job")}), 120),
        "action",
        "result",
    )
    return [
        _mark("Alerts", firing, theme.ERROR, "{{alertname}}", "severity"),
        _mark("Deploys", deployed, theme.NEUTRAL, "version {{version}}", "version"),
        _mark(
            "Load tests",
            promql.compare(tests, "==", 1),
            theme.CACHE,
            "load test {{scenario}}: {{run_id}}",
            "scenario",
        ),
        _mark(
            "Actions",
            promql.compare(taken, ">", 0),
            theme.WARN,
            "{{action}}: {{result}}",
            "action,result",
        ),
    ]


def _mark(name: str, query: promql.Query, colour: str, title: str, tags: str) -> dict[str, Any]:
    return {
        "datasource": DATASOURCE,
        "enable": True,
        "expr": query.text,
        "hide": False,
        "iconColor": colour,
        "name": name,
        "step": "30s",
        "tagKeys": tags,
        "target": {"expr": query.text, "interval": "30s", "refId": "Anno"},
        "titleFormat": title,
        "useValueForTime": False,
    }
