"""The gate on this project itself: measure a tree, store a baseline, judge a candidate.

    python -m benchmarks.perf baseline FOLDER [--tree DIR]
    python -m benchmarks.perf gate FOLDER [--tree DIR]
    python -m benchmarks.perf measure FOLDER [--tree DIR]

``baseline`` takes five measurements: the middle one is the baseline, how far all lie
apart is the noise.
``gate`` takes one and judges it, and a second one where the first was red. ``measure`` takes one.
All of them lie in FOLDER, numbered. Ends as ``firsttoken gate`` does. On a busy machine the figures
mean little.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.perf.measure import HERE, measure
from firsttoken.core import slo
from firsttoken.core.errors import UserError
from firsttoken.core.words import ExitCode
from reports.gate import samples
from reports.statistics import median

RULES = Path(__file__).with_name("gate.yaml")
TIMES = 5
"""Measurements of a baseline: of fewer, how far they lie apart is hardly known."""


def _new(options: argparse.Namespace, name: str) -> Path:
    """Measure the tree into the next free folder of that name."""
    folder: Path = options.folder.resolve()
    out = next(
        path for number in range(1, 1_000_000) if not (path := folder / f"{name}-{number}").exists()
    )
    print(f"measuring {options.tree} into {out}", flush=True)
    measure(options.tree.resolve(), out, options.users, options.seconds)
    return out


def _gate(arguments: list[str]) -> int:
    verb = [sys.executable, "-m", "firsttoken.cli.main", "gate", "--rules", str(RULES)]
    return subprocess.run([*verb, *arguments], cwd=HERE, check=False).returncode


def _baseline(options: argparse.Namespace) -> int:
    runs = [_new(options, "baseline") for _ in range(TIMES)]
    stored = str(options.folder.resolve() / "baseline")
    named = ["--candidate", str(middle(runs)), "--save", stored]
    return _gate([*named, "--noise-from", *map(str, runs)])


def middle(runs: Sequence[Path]) -> Path:
    """Return the run whose median TTFT lies in the middle: an odd one would bias every verdict."""
    targets = slo.load()
    found = {run: median(samples.read(run, targets).series["ttft"]) or 0.0 for run in runs}
    return sorted(runs, key=found.__getitem__)[len(runs) // 2]


def _judge(options: argparse.Namespace) -> int:
    folder: Path = options.folder.resolve()
    baseline = folder / "baseline"
    if not (baseline / "run.json").is_file():
        raise UserError(f"{baseline} holds no baseline: measure one first")
    sides = ["--baseline", str(baseline), "--candidate", str(_new(options, "candidate"))]
    if _gate(sides) == ExitCode.FAIL:
        sides += ["--again", str(_new(options, "candidate"))]
    # Only now: annotations of a first measurement would stay, whatever the second one says.
    told = ["--out", str(folder / "report"), *(["--github"] if options.github else [])]
    return _gate([*sides, *told, "--save", str(folder / "next")])


def _measure(options: argparse.Namespace) -> int:
    _new(options, "measurement")
    return ExitCode.PASS


def main(argv: list[str] | None = None) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.perf", description=(__doc__ or "").split("\n", maxsplit=1)[0]
    )
    verbs = {"baseline": _baseline, "gate": _judge, "measure": _measure}
    parser.add_argument("verb", choices=verbs)
    parser.add_argument("folder", type=Path, help="where all measurements lie")
    parser.add_argument("--tree", type=Path, default=HERE, help="source tree to measure")
    parser.add_argument("--users", default="5", help="talkers at once")
    parser.add_argument("--seconds", default="20", help="of first tokens, after warm-up")
    parser.add_argument("--github", action="store_true", help="annotations and a summary")
    options = parser.parse_args(argv)
    try:
        return verbs[options.verb](options)
    except UserError as error:
        print(f"benchmarks.perf: {error}", file=sys.stderr)
        return ExitCode.USAGE


if __name__ == "__main__":
    sys.exit(main())
