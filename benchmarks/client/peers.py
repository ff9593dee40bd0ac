"""The clients that are compared, and how each is run: as a child, by the Python that has it."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firsttoken.core.child import Child
from firsttoken.core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
OURS = "firsttoken"
SLOWEST_START_S = 120.0
"""How long a tool may take beyond the load itself; guidellm takes half a minute."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One client."""

    name: str
    module: str
    """Its runner in :mod:`.runners`."""
    python: str | None
    """None where it is not installed."""
    under_load: bool = True
    """Whether it is looked at under load too."""

    def start(self, mode: str, url: str, arguments: Sequence[str]) -> Child:
        """Start its runner.

        Raises:
            UserError: it cannot be started.
        """
        if self.python is None:
            raise UserError(f"{self.name} is not installed")
        module = f"benchmarks.client.runners.{self.module}"
        argv = [self.python, "-m", module, "--mode", mode, "--url", url, "--name", self.name]
        # An environment of its own must not find the packages of ours, only this folder.
        return Child.start(
            [*argv, *arguments], ready_timeout_s=None, env={"PYTHONPATH": str(ROOT)}, cwd=ROOT
        )


def told(child: Child, peer: str, seconds: float) -> list[dict[str, Any]]:
    """Return what a runner printed, once it has ended.

    Raises:
        UserError: it failed.
    """
    lines = list(child.lines())
    code = child.wait(seconds + SLOWEST_START_S)
    if code != 0:
        raise UserError(f"{peer} ended with {code}: {child.last_error_line()}")
    return [json.loads(line) for line in lines if line.startswith("{")]


def _python_of(place: str | None) -> str | None:
    """Return the Python of a virtual environment, given as its folder or its Python."""
    if not place:
        return None
    path = Path(place)
    python = path / "bin" / "python" if path.is_dir() else path
    if not python.exists():
        raise UserError(f"{place} is no virtual environment: it has no bin/python")
    return os.path.abspath(python)  # noqa: PTH100 - a link to a Python must stay one


def peers(places: dict[str, str | None], python: str | None = None) -> list[Peer]:
    """Return all clients, ours first.

    ``places`` maps ``guidellm``, ``genai_bench`` and ``aiohttp`` to virtual environments that have
    them. ``python`` runs the others, by default the Python that runs this.

    Raises:
        UserError: a place is no virtual environment.
    """
    here = python or sys.executable
    aiohttp = _python_of(places.get("aiohttp"))
    if aiohttp is None and importlib.util.find_spec("aiohttp") is not None:
        aiohttp = here
    official = here if importlib.util.find_spec("openai") is not None else None
    return [
        Peer(OURS, "ours", here),
        Peer("guidellm", "guidellm_run", _python_of(places.get("guidellm"))),
        Peer("genai-bench", "genai_bench_user", _python_of(places.get("genai_bench"))),
        Peer("Locust FastHttpUser, iter_lines", "locust_fast", here, under_load=False),
        Peer("Locust FastHttpUser, readline", "locust_fast", here),
        Peer("Locust with httpx", "locust_httpx", here),
        Peer("aiohttp", "aiohttp_client", aiohttp),
        Peer("openai, first content", "openai_client", official),
        Peer("openai, first chunk", "openai_client", official, under_load=False),
    ]
