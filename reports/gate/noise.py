"""``noise.json``: by how much runs of one and the same version differ on a runner, by rule."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from firsttoken.core.errors import UserError
from reports import files
from reports.gate.judge import planned, values_of
from reports.gate.likeness import differences
from reports.gate.repeatability import runner_noise
from reports.gate.rules import Rules
from reports.gate.samples import Measurement

NOISE = "noise.json"
"""Name of the file beside a stored baseline."""

SCHEMA_VERSION = 1


def of(measurements: Sequence[Measurement], rules: Rules) -> dict[str, float]:
    """Return the noise by rule; a rule that a measurement has no values for is left out.

    Args:
        measurements: of one version on one machine.
        rules: what is asked.

    Raises:
        UserError: fewer than two measurements, or no rule concerns what they hold.
    """
    if len(measurements) < 2:
        raise UserError("--noise-from names one measurement: expected two or more of one version")
    first = measurements[0]
    for other in measurements[1:]:
        unlike = [d.name for d in differences(first.conditions, other.conditions) if d.forbids]
        if unlike:
            names = ", ".join(unlike)
            raise UserError(f"{first.path} and {other.path} are too unlike to tell noise: {names}")
    found = {}
    for rule, name in planned(measurements[0], rules):
        runs = [values_of(each, name) for each in measurements]
        effect = runner_noise(runs, rule) if all(run.n for run in runs) else None
        if effect is not None and math.isfinite(effect):
            found[rule.name] = effect
    if not found:
        where = measurements[0].path
        raise UserError(f"no rule concerns what {where} and the others hold: there is no noise")
    return found


def write(noise: Mapping[str, float], folder: Path) -> Path:
    """Write ``noise.json`` into a folder and return its path.

    Raises:
        UserError: it cannot be written.
    """
    path = folder / NOISE
    document = {"schema_version": SCHEMA_VERSION, "noise": dict(sorted(noise.items()))}
    files.put_all(folder, {NOISE: json.dumps(document, indent=2) + "\n"}, f"cannot write {path}")
    return path


def read(path: Path) -> dict[str, float]:
    """Read what :func:`write` wrote.

    Raises:
        UserError: it is missing, not JSON, of another version, or holds something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        raise UserError(f"{path}: schema_version is {version!r}, this version reads 1")
    noise = document.get("noise")
    if not isinstance(noise, dict):
        raise UserError(f"{path} has no noise: expected a share by the name of each rule")
    for name, share in noise.items():
        number = isinstance(share, int | float) and not isinstance(share, bool)
        if not number or not math.isfinite(share) or share < 0.0:
            raise UserError(f"{path}: the noise of {name} is {share!r}, expected a share from 0 on")
    return {str(name): float(share) for name, share in noise.items()}
