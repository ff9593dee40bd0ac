"""The evidence for the gate: the body of a page of ``docs/evidence/``, and its figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from firsttoken.core.words import Verdict
from firsttoken.trials import gate_figure, gate_power
from firsttoken.trials.evidence import markdown_table
from firsttoken.trials.gate_power import GATE, JUDGES, MEAN, RATIO, THRESHOLD, Pairs
from firsttoken.trials.gate_runs import Recording, first_tokens
from firsttoken.trials.progress import Progress
from reports.autocorrelation import effective_n
from reports.gate.repeatability import runner_noise
from reports.statistics import FloatArray, quantile

PAIRS = 500
CURVE_PAIRS = 100
SHIFTS = tuple(round(0.025 * step, 3) for step in range(13))
ASKED = {"median": 0.10, "tail": 0.20}
WAYS = {"median": gate_power.slow_all, "tail": gate_power.slow_tail}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is drawn, at how many requests a side."""

    ladder: tuple[int, ...] = (500, 2_000, 5_000)
    pairs: int = PAIRS
    curve_pairs: int = CURVE_PAIRS


def gate_page(
    run_dirs: Sequence[Path],
    plan: Recording,
    picture: Path,
    progress: Progress,
    *,
    target_ms: float,
    sizes: Sizes | None = None,
) -> str:
    """Resample recorded runs; draw the curves into ``picture``; return the page.

    Raises:
        UserError: the records cannot be read.
    """
    sizes = sizes or Sizes()
    runs = [first_tokens(run_dir, target_ms) for run_dir in run_dirs]
    pairs = Pairs(runs)
    with progress.doing("gate: pairs without a difference"):
        alarms = [_alarms_row(pairs, name, sizes) for name in JUDGES]
        verdicts = _verdict_rows(pairs, sizes)
    with progress.doing("gate: pairs with a difference"):
        power = [_power_row(pairs, name, sizes) for name in JUDGES]
        panels = [_panel(pairs, way, sizes) for way in WAYS]
    gate_figure.draw(
        panels,
        picture,
        caption=f"{sizes.curve_pairs} pairs a point, both sides resampled in blocks of "
        f"{gate_power.BLOCK} from one of {len(runs)} recorded runs",
    )
    columns = [f"n = {n}" for n in sizes.ladder]
    recorded = markdown_table(
        ("run", "requests", "worth, p50", "worth, p95", "TTFT p50 ms", "TTFT p95 ms"),
        [_run_row(number, run) for number, run in enumerate(runs, start=1)],
    )
    one_run = [f"one run, {each}" for each in columns]
    asked = [f"{part}, {each}" for part in ("all", "tail") for each in columns]
    return f"""{len(runs)} runs of {plan.seconds:g} s, each with an engine and a router of its own:
{plan.users} talkers without a pause, replies of {plan.min_tokens} to {plan.max_tokens} tokens,
{plan.slots} slots, caches off; the router's backup is an **emulated** cloud. Worth: how many
independent requests tell as much.

{recorded}

What the runs differ by beyond the chance of their own requests, the noise of this runner:
{_noise_line(runs)}. Pairs are drawn in blocks of {gate_power.BLOCK} consecutive requests, so that
requests keep their neighbours. Rules: TTFT p50, p95 and error rate together, Holm's correction,
minimum effect 5 % (of the error rate: one point).

## Nothing changed: {sizes.pairs} pairs, share called a regression

{markdown_table(("rule", *one_run, f"two runs, {columns[0]}"), alarms)}

One run: both sides are drawn from the same one, all that differs is chance. Two runs: what the
machine did between them is in it; the noise is told by the runs that are left, the second
measurement is drawn from a third. A gate that is not told of a noise takes it for a change of the
program. What this gate says where nothing changed:

{markdown_table(("pairs", "PASS", "INCONCLUSIVE", "FAIL"), verdicts)}

## The candidate is slower: {sizes.pairs} pairs, share called a regression

Every first token {ASKED["median"]:.0%} later; and only the slowest tenth {ASKED["tail"]:.0%} later,
so that the p95 moves and the median stays. Both sides from one run. A gate that is told of a noise
larger than the change does not call it one: on a runner that changes its pace like this one,
baseline and candidate have to be measured in turns.

No single setting does both on these runs: told the noise, false alarms between runs are rare and a
change of this size is missed; not told, it is found and false alarms between runs are frequent. A
side of more requests than a run has repeats that run's blocks: what changes more slowly than a run
lasts is not in it.

{markdown_table(("rule", *asked), power)}

![power of the gate]({picture.name})
"""


def _run_row(number: int, run: FloatArray) -> tuple[str, ...]:
    worth, shown = [], []
    for p in (0.50, 0.95):
        effective = effective_n(run, p)
        found = quantile(run, p, effective)
        ends = [
            "?" if end is None or not np.isfinite(end) else f"{end:.0f}"
            for end in (found.ci_low, found.ci_high)
        ]
        worth.append(f"{effective:.0f}")
        shown.append(f"{found.value or 0.0:.0f} [{ends[0]}, {ends[1]}]")
    return (str(number), str(run.size), *worth, *shown)


def _noise_line(runs: Sequence[FloatArray]) -> str:
    parts = []
    for rule in gate_power.RULES:
        noise = runner_noise([gate_power.samples(run, rule) for run in runs], rule)
        parts.append(f"{rule.name} {'not known' if noise is None else f'{noise:.1%}'}")
    return ", ".join(parts)


def _alarms_row(pairs: Pairs, name: str, sizes: Sizes) -> tuple[str, ...]:
    judge = JUDGES[name]
    shares = [
        gate_power.red_share(pairs, judge, n, sizes.pairs, same_run=True) for n in sizes.ladder
    ]
    shares.append(gate_power.red_share(pairs, judge, sizes.ladder[0], sizes.pairs))
    return (name, *(f"{share:.1%}" for share in shares))


def _verdict_rows(pairs: Pairs, sizes: Sizes) -> list[tuple[str, ...]]:
    drawn = [(n, True) for n in sizes.ladder] + [(sizes.ladder[0], False)]
    rows = []
    for n, same_run in drawn:
        random = np.random.default_rng(1)
        found = [
            gate_power.verdict_of(pairs.draw(n, random, same_run=same_run), with_noise=not same_run)
            for _ in range(sizes.pairs)
        ]
        shares = [
            found.count(each) / sizes.pairs
            for each in (Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL)
        ]
        name = f"one run, n = {n}" if same_run else f"two runs, told the noise, n = {n}"
        rows.append((name, *(f"{share:.1%}" for share in shares)))
    return rows


def _power_row(pairs: Pairs, name: str, sizes: Sizes) -> tuple[str, ...]:
    shares = [
        gate_power.red_share(
            pairs, JUDGES[name], n, sizes.pairs, how=how, shift=ASKED[way], same_run=True
        )
        for way, how in WAYS.items()
        for n in sizes.ladder
    ]
    return (name, *(f"{share:.1%}" for share in shares))


def _panel(pairs: Pairs, way: str, sizes: Sizes) -> gate_figure.Panel:
    def curve(name: str, n: int) -> list[float]:
        return [
            gate_power.red_share(
                pairs, JUDGES[name], n, sizes.curve_pairs, how=WAYS[way], shift=shift, same_run=True
            )
            for shift in SHIFTS
        ]

    title = {"median": "Every first token later", "tail": "Only the slowest tenth later"}[way]
    axis = {"median": "how much later", "tail": "how much later the slowest tenth"}[way]
    return gate_figure.Panel(
        title=title,
        axis=axis,
        shifts=SHIFTS,
        gate={n: curve(GATE, n) for n in sizes.ladder},
        peers={name: curve(name, sizes.ladder[-1]) for name in (RATIO, MEAN, THRESHOLD)},
        asked=ASKED[way],
    )
