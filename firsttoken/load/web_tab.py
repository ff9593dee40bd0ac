"""The tab "First token" of Locust's web UI: first tokens by tier, the target, and whether the
generator kept time well enough for the figures to be believed."""

from __future__ import annotations

import csv
import json
import math
from argparse import Namespace
from collections.abc import Callable, Mapping
from io import StringIO
from typing import Any

from flask import Blueprint, Response, request
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner
from locust.web import WebUI

from firsttoken.core.words import Tier, Verdict
from firsttoken.load.feed import MESSAGE, Feed, Pulse
from firsttoken.load.first_token import ALL, DIRECT, FELT, P95, FirstTokens, Goal, Key, Tally, judge

KEY = "first-token"
"""Names the tab in the page, in Locust's own statistics reply and in the path of the CSV file."""
COLUMNS: dict[str, str] = {
    "what": "First token of",
    "n": "Replies",
    "failed": "Failed",
    "p50_ms": "p50 (ms)",
    "p95_ms": "p95 (ms)",
    "within": "Within {target:g} ms",
    "kept": "On a kept connection",
    "verdict": "Verdict",
    "why": "Why",
}
Row = dict[str, str | int]


class Tab:
    """The table, from this process's feed or its workers' reports.

    Args:
        environment: of a process with a web UI.
        goal: the target and how many requests it takes.
        lag_budget_ms: says what lag of the event loop is allowed now; beyond it, nothing is
            believed.
        feed: of this process; None where workers have the talkers.
    """

    def __init__(
        self,
        environment: Environment,
        goal: Goal,
        lag_budget_ms: Callable[[], float],
        feed: Feed | None,
    ) -> None:
        self._goal = goal
        self._lag_budget_ms = lag_budget_ms
        self.tokens = FirstTokens() if feed is None else feed.tokens
        self._pulses: dict[str, Pulse] = {} if feed is None else {"": feed.pulse}
        """By worker."""
        events = environment.events
        events.reset_stats.add_listener(self._on_reset)
        events.spawning_complete.add_listener(lambda **_: self._on_spawned(environment))
        if feed is None:
            events.test_start.add_listener(self._on_reset)
            events.worker_report.add_listener(self._on_worker_report)

    def rows(self) -> list[Row]:
        """Return the table: all replies, the generator, and the replies by tier, reason, kind."""
        rows = [self._row("all replies", ALL), self._generator()]
        felt = self.tokens.get(FELT)
        if felt.n:
            rows.append(self._row("all replies, from the planned start", FELT))
        rows += [self._row(_label(key), key) for key in self.tokens.names()]
        # Locust sorts by the value under "name", which no column shows.
        return [{"name": f"{place:02}", **row} for place, row in enumerate(rows)]

    def columns(self) -> list[tuple[str, str]]:
        """Return key and title of each column."""
        return [
            (key, title.format(target=self._goal.ttft_p95_ms)) for key, title in COLUMNS.items()
        ]

    def csv(self) -> str:
        """Return the table as CSV."""
        text = StringIO()
        writer = csv.writer(text)
        writer.writerow([title for _, title in self.columns()])
        writer.writerows([[row[key] for key in COLUMNS] for row in self.rows()])
        return text.getvalue()

    def _row(self, what: str, key: Key) -> Row:
        tally = self.tokens.get(key)
        p95 = tally.quantile(P95)
        row: Row = {
            "what": what,
            "n": tally.n,
            "failed": tally.failed,
            "p50_ms": _milliseconds(tally.quantile(0.5)),
            "p95_ms": _milliseconds(p95),
            "within": _share(tally.within(self._goal.ttft_p95_ms), tally.n),
            "kept": "" if key == FELT else _share(tally.kept, tally.n),
            "verdict": "",
            "why": "",
        }
        if key == ALL:
            row["verdict"], row["why"] = self._judged(tally)
        return row

    def _judged(self, tally: Tally) -> tuple[str, str]:
        lag, allowed = self._lag_ms(0.99), self._lag_budget_ms()
        target = f"{self._goal.ttft_p95_ms:g} ms"
        if lag > allowed:
            why = f"the generator was late by {lag:.1f} ms, allowed {allowed:g} ms"
            return Verdict.UNTRUSTED, why
        verdict = judge(tally, self._goal)
        if tally.n < self._goal.minimum_n:
            return verdict, f"{tally.n} of the {self._goal.minimum_n} replies that it takes"
        return verdict, {
            Verdict.PASS: f"p95 is within {target}",
            Verdict.FAIL: f"p95 is beyond {target}",
        }.get(verdict, f"p95 is too near {target} for this many replies")

    def _generator(self) -> Row:
        row: Row = dict.fromkeys(COLUMNS, "")
        row["what"] = "the generator itself"
        late, worst = self._lag_ms(0.99), self._lag_ms(1.0)
        cpu = max((pulse.cpu_share for pulse in self._pulses.values()), default=0.0)
        row["verdict"] = "late" if late > self._lag_budget_ms() else "on time"
        row["why"] = (
            f"event loop late by {late:.1f} ms (p99), {worst:.1f} ms at worst; {cpu:.0%} of a core"
        )
        return row

    def _lag_ms(self, share: float) -> float:
        """Return the quantile of the process that kept time worst."""
        return max((pulse.lag_ms(share) for pulse in self._pulses.values()), default=0.0)

    def _on_worker_report(self, client_id: str, data: Mapping[str, Any]) -> None:
        report = data.get(MESSAGE)
        if report is not None:
            self.tokens.merge(report["tokens"])
            pulse = self._pulses.setdefault(client_id, Pulse())
            pulse.lags.merge(0, 0, report["lags"])
            pulse.cpu_share = report["cpu_share"]

    def _on_reset(self, **_: Any) -> None:
        self.tokens.clear()
        for pulse in self._pulses.values():
            pulse.lags = Tally()

    def _on_spawned(self, environment: Environment) -> None:
        if environment.reset_stats:
            self._on_reset()


def attach(environment: Environment, options: Namespace) -> None:
    """Give a run by hand its tab, or a worker its part in it; without a web UI nothing."""
    runner, web_ui = environment.runner, environment.web_ui
    if isinstance(runner, WorkerRunner):
        Feed(environment).report(environment)
    elif web_ui is not None:
        # Not needed by those who have no tab, and a third of a second to import.
        from firsttoken.core import slo  # noqa: PLC0415

        targets = slo.load()
        target_ms = options.ttft_target_ms or targets.ttft_p95_ms
        feed = None if isinstance(runner, MasterRunner) else Feed(environment)
        largest_ms = max((each.p99_ms for each in targets.calibration), default=math.inf)

        def budget_ms() -> float:
            users = max(environment.runner.user_count, 1) if environment.runner else 1
            return targets.calibration_p99_ms(users) or largest_ms

        goal = Goal(target_ms, targets.minimum_samples.p95)
        _show(web_ui, Tab(environment, goal, budget_ms, feed), options.web_base_path or None)


def _show(web_ui: WebUI, tab: Tab, base_path: str | None) -> None:
    args = web_ui.template_args
    structure = [{"key": key, "title": title} for key, title in tab.columns()]
    extras = {
        "extended_tabs": {"title": "First token", "key": KEY},
        "extended_tables": {"key": KEY, "structure": structure},
        "extended_csv_files": {"href": f"./{KEY}/csv", "title": "Download first token CSV"},
    }
    for name, extra in extras.items():
        args[name] = [*args.get(name, []), extra]
    pages = Blueprint("firsttoken", __name__, url_prefix=base_path)

    @pages.route(f"/{KEY}/csv")
    @web_ui.auth_required_if_enabled  # type: ignore[untyped-decorator]
    def as_csv() -> Response:
        headers = {"Content-Disposition": "attachment; filename=first_token.csv"}
        return Response(tab.csv(), mimetype="text/csv", headers=headers)

    @pages.after_app_request
    def add_rows(response: Response) -> Response:
        """Put the rows where the page looks for them: in Locust's own statistics."""
        if request.endpoint == "locust.request_stats" and response.is_json:
            page = response.get_json()
            others = [each for each in page.get("extended_stats", []) if each["key"] != KEY]
            page["extended_stats"] = [*others, {"key": KEY, "data": tab.rows()}]
            response.set_data(json.dumps(page))
        return response

    if web_ui.app is not None:
        web_ui.app.register_blueprint(pages)


def _label(key: Key) -> str:
    group, name = key
    if group == "tier":
        return {DIRECT: "no tier named", Tier.NONE: "tier none"}.get(name, f"tier {name}")
    return f"reason {name}" if group == "reason" else f"begun with {name}"


def _milliseconds(value: float | None) -> str:
    if value is None:
        return ""
    return "never" if math.isinf(value) else f"{value:.0f}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else ""
