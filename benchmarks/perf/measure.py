"""One measurement for the gate: first tokens through a tree's router, and its micro benchmarks.

A server whose first tokens come after known 20 to 30 ms stands behind the router of the tree.
``firsttoken bench`` of *this* tree asks it, whichever router is measured, so that two versions are
measured with one instrument. Then the tree's own micro benchmarks run. The folder then holds the
run and ``benchmarks.json``: what ``firsttoken gate`` reads.

The upstream is quick on purpose. A millisecond in the router is the same millisecond before any
engine, but behind a first token of 200 ms it is 0.5 % and behind this one 4 %.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from firsttoken.core.child import Child
from firsttoken.core.errors import UserError
from firsttoken.core.settings import environment
from firsttoken.core.words import ExitCode

HERE = Path(__file__).resolve().parents[2]
FIRST_DELAY_MS = "20:30"
INTERVAL_MS = "5"
REPLY = "16"
MICRO = ("test_router_overhead.py", "test_wire_reader.py", "test_caches.py", "test_instruments.py")
PASSES = 5
PASS_SECONDS = 0.06
"""Of each benchmark in a pass, after its own calibration."""
VERDICTS = {ExitCode.PASS, ExitCode.FAIL, ExitCode.INCONCLUSIVE, ExitCode.UNTRUSTED}
SETTINGS = """\
llm_routing:
  local_model:
    endpoint: {upstream}
    model: truth
    dialect: openai
    slots: 64
"""


def _python_of(tree: Path) -> dict[str, str]:
    """Return the environment in which Python imports the packages of ``tree`` and no others."""
    neutral = environment.neutral(os.environ)
    return {**neutral, "PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}


def first_tokens(tree: Path, out: Path, users: str, seconds: str) -> None:
    """Measure first tokens through the router of ``tree`` into the run folder ``out``.

    Raises:
        UserError: a server does not start, or the measurement fails.
    """
    python = sys.executable
    pace = ["--first-token-ms", FIRST_DELAY_MS, "--token-interval-ms", INTERVAL_MS]
    with tempfile.TemporaryDirectory() as scratch:
        settings = Path(scratch) / "router.yaml"
        upstream = [python, "-m", "firsttoken.upstreams.truth", "--port", "0", *pace]
        with Child.start(upstream, env=_python_of(HERE)) as truth:
            settings.write_text(SETTINGS.format(upstream=truth.url), encoding="utf-8")
            serve = ["-m", "router", "--config", str(settings), "--port", "0", "--ready-json"]
            with Child.start([python, *serve], env=_python_of(tree)) as router:
                bench = ["-m", "firsttoken.cli.main", "bench", "--target", router.url]
                load = ["--users", users, "--step-seconds", seconds, "--max-tokens", REPLY]
                _run([python, *bench, *load, "--out", str(out)], HERE, VERDICTS)


def micro(tree: Path, out: Path) -> None:
    """Run the micro benchmarks that ``tree`` has; their rounds go to ``out/benchmarks.json``.

    In several short passes: a virtual machine runs at half its speed for seconds on end, and a
    benchmark that is measured in one go then shows nothing else.

    Raises:
        UserError: one of them fails.
    """
    files = [str(path) for name in MICRO if (path := tree / "benchmarks" / name).exists()]
    plain = ["-o", "addopts=", "-q", "-p", "no:cacheprovider"]
    few = ["--benchmark-only", f"--benchmark-max-time={PASS_SECONDS}", "--benchmark-quiet"]
    passes = []
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(PASSES):
            file = Path(scratch) / f"{number}.json"
            told = f"--benchmark-json={file}"
            _run(
                [sys.executable, "-m", "pytest", *files, *plain, *few, told], tree, {ExitCode.PASS}
            )
            passes.append(json.loads(file.read_bytes()))
    (out / "benchmarks.json").write_text(json.dumps(joined(passes)) + "\n", encoding="utf-8")


def joined(passes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the contents of pytest-benchmark's files as one, the rounds one after the other."""
    rounds: dict[str, list[float]] = {}
    for each in passes:
        for item in each["benchmarks"]:
            rounds.setdefault(item["fullname"], []).extend(item["stats"]["data"])
    listed = [{"fullname": name, "stats": {"data": data}} for name, data in rounds.items()]
    return {**passes[0], "benchmarks": listed}


def _run(argv: list[str], tree: Path, good: set[ExitCode]) -> None:
    with Child.start(argv, env=_python_of(tree), cwd=tree, ready_timeout_s=None) as child:
        code = child.wait()
        if code not in good:
            told = "\n".join([*child.lines(), child.last_error_line()])
            raise UserError(f"{' '.join(argv[1:4])} ended with {code}:\n{told.strip()}")


def measure(tree: Path, out: Path, users: str, seconds: str) -> None:
    """Measure ``tree`` once into the new folder ``out``.

    Raises:
        UserError: a part of it fails.
    """
    first_tokens(tree, out, users, seconds)
    micro(tree, out)
