"""Prometheus, Alertmanager and our exporter as children of a trial, with the rules we ship."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from dashboards.rules import emit
from firsttoken.core.child import Child
from firsttoken.core.errors import UserError
from firsttoken.core.settings import Settings
from firsttoken.core.slo import Slo

START_S = 20.0
"""For a server to say where it listens."""

_LISTENS = re.compile(rb'msg="Listening on" address=(?:\[::\]|[0-9.]+):(\d+)')
_POLL_S = 0.02


def start_monitoring(
    stack: ExitStack, folder: Path, slo: Slo, settings: Settings, options: emit.Options
) -> str:
    """Start Alertmanager and Prometheus by the rules for these settings, which are written to
    ``folder / "rules"``; return the address of Prometheus.

    Raises:
        UserError: one of them is not installed, or refuses its configuration.
    """
    rules = folder / "rules"
    emit.write_rules(rules, slo, settings, options)
    _, url = start_alertmanager(stack, folder, rules / "alertmanager.yml")
    # Prometheus has to be told where Alertmanager listens, which is known now.
    known = replace(options.addresses, alertmanager=address(url))
    emit.write_rules(rules, slo, settings, replace(options, addresses=known))
    _, prometheus = start_prometheus(stack, folder, rules / "prometheus.yml")
    return prometheus


def address(url: str) -> str:
    """Return host and port of a URL, as Prometheus has them."""
    return url.removeprefix("http://")


def start_prometheus(stack: ExitStack, folder: Path, config: Path) -> tuple[Child, str]:
    """Start a Prometheus on a free port; return it with its address.

    Args:
        stack: stops it.
        folder: for its data and its log.
        config: its configuration, the rule files beside it.

    Raises:
        UserError: it is not installed, or refuses its configuration.
    """
    return _listening(
        stack,
        folder / "prometheus.log",
        [
            _program("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            "--web.listen-address=127.0.0.1:0",
        ],
    )


def start_alertmanager(stack: ExitStack, folder: Path, config: Path) -> tuple[Child, str]:
    """Start an Alertmanager on a free port, a cluster of its own; return it with its address.

    Raises:
        UserError: it is not installed, or refuses its configuration.
    """
    return _listening(
        stack,
        folder / "alertmanager.log",
        [
            _program("prometheus-alertmanager", "alertmanager"),
            f"--config.file={config}",
            f"--storage.path={folder / 'alertmanager'}",
            "--web.listen-address=127.0.0.1:0",
            "--cluster.listen-address=",
        ],
    )


def start_exporter(
    stack: ExitStack, engine_url: str, log: Path, *, probe_seconds: float = 15.0
) -> Child:
    """Start our exporter before an engine.

    Raises:
        UserError: it does not start.
    """
    options = ["--target", engine_url, "--port", "0", "--probe-seconds", f"{probe_seconds:g}"]
    argv = [sys.executable, "-m", "firsttoken.cli.main", "exporter", "--ready-json", *options]
    return stack.enter_context(Child.start(argv, log=log))


def _program(*names: str) -> str:
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise UserError(f"{names[0]}: not installed; expected it on the PATH")
    return found


def _listening(stack: ExitStack, log: Path, argv: Sequence[str]) -> tuple[Child, str]:
    child = stack.enter_context(Child.start(argv, log=log, ready_timeout_s=None))
    until = time.monotonic() + START_S
    while (match := _LISTENS.search(log.read_bytes())) is None:
        if child.poll() is not None:
            raise UserError(f"{child.name} ended: {child.last_error_line()} (log: {log})")
        if time.monotonic() > until:
            raise UserError(f"{child.name} does not listen after {START_S:g} s (log: {log})")
        time.sleep(_POLL_S)
    return child, f"http://127.0.0.1:{int(match[1])}"
