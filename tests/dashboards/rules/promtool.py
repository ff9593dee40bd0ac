"""Signals as promtool's input series, and promtool and amtool as child processes."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

RESET = 21
"""Minute at which counters begin anew and a scrape is lost: the router was restarted."""


@dataclass(frozen=True)
class Rate:
    """A counter that grows by so much a minute."""

    per_minute: float


@dataclass(frozen=True)
class Level:
    """A gauge: its values minute by minute, the last one held."""

    values: tuple[float, ...]

    def at(self, minute: int) -> float:
        return self.values[min(minute, len(self.values) - 1)]


def level(*values: float) -> Level:
    return Level(values)


Signal = Mapping[str, Rate | Level]
"""Series, as written in a selector, by how they go."""


@dataclass(frozen=True)
class Phase:
    """So many minutes of a signal."""

    minutes: int
    signal: Signal


def input_series(phases: Sequence[Phase], reset: int | None = None) -> list[dict[str, str]]:
    """Write phases that follow each other as input series with one sample a minute."""
    names = dict.fromkeys(name for phase in phases for name in phase.signal)
    return [{"series": name, "values": _values(name, phases, reset)} for name in names]


def _values(name: str, phases: Sequence[Phase], reset: int | None) -> str:
    written: list[str] = []
    total = 0.0
    for phase in phases:
        signal = phase.signal.get(name)
        for minute in range(phase.minutes):
            restarted = reset is not None and len(written) == reset
            if isinstance(signal, Rate):
                total = 0.0 if restarted else total + signal.per_minute
                written.append(f"{total:.10g}")
            elif signal is None or restarted:
                written.append("_")
            else:
                written.append(f"{signal.at(minute):.10g}")
    return " ".join(written)


def alert_check(name: str, minute: int, labels: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """Expect exactly these alerts of a name to fire at a minute."""
    return {
        "alertname": name,
        "eval_time": f"{minute}m",
        "exp_alerts": [{"exp_labels": dict(each)} for each in labels],
    }


def test_file(rule_files: Sequence[str], tests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the content of a file for ``promtool test rules``."""
    groups = [{"interval": "1m", **each} for each in tests]
    return {"rule_files": list(rule_files), "evaluation_interval": "1m", "tests": groups}


def write(path: Path, content: Any) -> Path:
    """Write JSON, which is YAML too and quickly written."""
    path.write_text(json.dumps(content))
    return path


def read(content: bytes) -> Any:
    """Read YAML."""
    return YAML(typ="safe", pure=True).load(content)


def plain(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule without its annotations, which promtool would want repeated to the letter."""
    return {key: value for key, value in rule.items() if key != "annotations"}


def run(*arguments: str | Path, fails: bool = False) -> str:
    """Run a program to its end and return what it said.

    With ``fails`` any exit code will do; otherwise it has to be 0.
    """
    done = subprocess.run(
        [str(each) for each in arguments], capture_output=True, text=True, timeout=100, check=False
    )
    said = done.stdout + done.stderr
    assert fails or done.returncode == 0, said
    return said


def alerts_that_failed(said: str) -> set[str]:
    """Return the names of the alerts of which promtool did not find what was expected."""
    return set(re.findall(r"alertname: ?(\w+)", said))
