"""``make prove``: whatever takes longer than a test may.

Each proof writes one page of ``docs/evidence/`` with its command, date and machine. Name proofs to
run only those: ``python -m firsttoken.trials.prove clock``.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from firsttoken.core import settings as settings_room
from firsttoken.core import slo as slo_room
from firsttoken.core.clock import NS_PER_S
from firsttoken.core.errors import UserError
from firsttoken.core.records import read_table
from firsttoken.core.slo import Slo
from firsttoken.core.words import ExitCode, Phase
from firsttoken.trials.alert_loop_page import alert_loop
from firsttoken.trials.boards import Run, boards
from firsttoken.trials.calibrate import calibrate
from firsttoken.trials.capacity_proof import CapacityProof, capacity_proof
from firsttoken.trials.capacity_proof import rows as capacity_rows
from firsttoken.trials.demo import QUICK, Demo, demo
from firsttoken.trials.direct_answer_proof import DirectAnswer, direct_answer
from firsttoken.trials.direct_answer_proof import page as direct_answer_page
from firsttoken.trials.evidence import markdown_table, write_page
from firsttoken.trials.first_token import FirstToken, first_token, rows
from firsttoken.trials.gate_proof import gate_page
from firsttoken.trials.gate_runs import Recording, record
from firsttoken.trials.loads_proof import Overload, Talking, by_quarter, overload, talking
from firsttoken.trials.models import ModelsPlan, measure_models
from firsttoken.trials.models import page as models_page
from firsttoken.trials.models.proof import SECOND, two_models
from firsttoken.trials.prefix_proof import PrefixPlan, prefix
from firsttoken.trials.prefix_proof import page as prefix_page
from firsttoken.trials.progress import Progress
from firsttoken.trials.report_proof import (
    MOST_BYTES,
    MOST_SECONDS,
    cost_table,
    costs,
    page_proof,
)
from firsttoken.trials.statistics_proof import statistics_page
from firsttoken.trials.tuning.plan import TryPlan
from firsttoken.trials.tuning.sentences import Sentences, tune_sentences
from firsttoken.trials.tuning.sentences import rows as sentence_rows
from firsttoken.trials.tuning.show import markdown as tune_markdown
from firsttoken.trials.tuning.trying import tune_try
from firsttoken.trials.voice_page import page as voice_page
from firsttoken.trials.voice_proof import VoiceLoad, voice_load
from reports import build, terminal, write
from reports.load import delays_ms
from reports.tables import accepted_and_failed, ttft

EVIDENCE = Path("docs/evidence")
COMMAND = "python -m firsttoken.trials.prove"
CLOCK_USERS = (20, 100, 200)
CLOCK_REPEATS = 3
CLOCK_SECONDS = 10.0
FULL_SPEED_TOKENS = 400
"""Tokens of a reply that takes 8 s, against which 0.3 s for the first token hardly count."""
LONG_STEP_SECONDS = 90.0
SOAK_SECONDS = 900.0


def prove_clock(slo: Slo, progress: Progress) -> Path:
    """The generator's own error at 20, 100 and 200 talkers, three times each, in turn."""
    found_rows = []
    for repeat in range(1, CLOCK_REPEATS + 1):
        for users in CLOCK_USERS:
            with progress.doing(f"clock: {users} talkers, {repeat} of {CLOCK_REPEATS}"):
                found = calibrate(users, CLOCK_SECONDS, slo, "before")
            found_rows.append(
                (
                    str(users),
                    str(repeat),
                    str(found.requests),
                    f"{found.error_p50_ms:.2f}",
                    f"{found.error_p99_ms:.2f}",
                    f"{found.error_max_ms:.2f}",
                    f"{found.budget_p99_ms:g}",
                    *(f"{lag or 0.0:.2f}" for lag in (found.lag_p50_ms, found.lag_p99_ms)),
                    f"{found.cpu_us_per_token:.0f}",
                    f"{found.generator_cpu or 0.0:.1%}",
                )
            )
    with progress.doing(f"clock: {CLOCK_USERS[0]} talkers at full speed"):
        full = calibrate(CLOCK_USERS[0], CLOCK_SECONDS, slo, "before", max_tokens=FULL_SPEED_TOKENS)
    header = ("talkers", "repeat", "requests", "p50 ms", "p99 ms", "max ms", "budget p99 ms")
    lags = ("lag p50 ms", "lag p99 ms")
    return write_page(
        EVIDENCE,
        "clock",
        "How far off the generator's clock is",
        f"{COMMAND} clock",
        "Error of TTFT per request: the client's figure minus that of the truth server, which "
        "stamps each first token as it writes it; lag is the part of it on the way back.\n\n"
        + markdown_table((*header, *lags, "CPU us a token", "of a core"), found_rows)
        + f"\n\nWith replies of {FULL_SPEED_TOKENS} tokens, one every 20 ms, {CLOCK_USERS[0]} "
        "talkers hear close to 50 tokens a second each. The generator then used "
        f"{full.generator_cpu or 0.0:.1%} of a core, {full.cpu_us_per_token:.0f} us a token; error "
        f"p99 {full.error_p99_ms:.2f} ms over {full.requests} requests.",
    )


def prove_steps(slo: Slo, progress: Progress) -> Path:
    """The demonstration with long steps."""
    run_dir = demo(
        Demo(step_seconds=LONG_STEP_SECONDS, final_step_seconds=LONG_STEP_SECONDS), slo, progress
    )
    report = build.report(run_dir, slo)
    write.write_all(report, run_dir)
    return write_page(
        EVIDENCE,
        "steps",
        "Three arms, 5 to 20 talkers, 90 s a step",
        f"{COMMAND} steps",
        "`remote_only` and the router's backup are an **emulated** cloud.\n\n"
        f"```text\n{terminal.table(report)}\n```",
    )


def _milliseconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if math.isfinite(value) else "never"


def by_minute(requests: pd.DataFrame, target_ms: float) -> list[tuple[str, ...]]:
    """Return a row a minute of the steady part: requests, TTFT p50 and p95, errors.

    A failed request counts as later than everything, as in the report; "never" where that is what
    the quantile says.
    """
    steady = requests[requests["phase"] == Phase.STEADY]
    minute = (steady["t_send_ns"] - steady["t_send_ns"].min()) // (60 * NS_PER_S)
    rows = []
    for number, (_, group) in enumerate(steady.groupby(minute), start=1):
        delays = delays_ms(group, target_ms)
        shown = [_milliseconds(ttft(delays, p).value) for p in (0.50, 0.95)]
        _, failed = accepted_and_failed(group)
        rows.append((str(number), str(len(group)), *shown, str(failed)))
    return rows


def prove_soak(slo: Slo, progress: Progress) -> Path:
    """Twenty talkers through the router for 15 minutes: does anything drift?"""
    run_dir = demo(
        replace(QUICK, step_seconds=SOAK_SECONDS),
        slo,
        progress,
    )
    report = build.report(run_dir, slo)
    write.write_all(report, run_dir)
    minutes = by_minute(read_table(run_dir, "requests").to_pandas(), slo.ttft_p95_ms)
    return write_page(
        EVIDENCE,
        "soak",
        "Twenty talkers for 15 minutes",
        f"{COMMAND} soak",
        f"Verdict: {report.verdict}.\n\n"
        + markdown_table(("minute", "requests", "TTFT p50 ms", "p95 ms", "errors"), minutes),
    )


def prove_first_token(slo: Slo, progress: Progress) -> Path:
    """Twenty talkers without a pause: the router with and without caches beside the engine."""
    plan = FirstToken()
    run_dir = first_token(plan, slo, progress)
    header = ("arm", "requests", "errors", "TTFT p50 ms", "p95 ms")
    more = ("p95 / that of 24 slots", "local / cache / remote")
    return write_page(
        EVIDENCE,
        "first-token",
        "The first token at 20 talkers: router and bare engine",
        f"{COMMAND} first-token",
        f"{plan.users} talkers without think time, {plan.min_tokens} to {plan.max_tokens} tokens a "
        f"reply, {plan.repeat_share:.0%} of what is said repeats; {plan.rounds} turns of "
        f"{plan.step_seconds:g} s an arm, one schedule. The router's backup is an **emulated** "
        "cloud. In brackets the 95 % interval.\n\n"
        + markdown_table((*header, *more), rows(run_dir)),
    )


def prove_capacity(slo: Slo, progress: Progress) -> Path:
    """How many talkers without a pause the router carries, and the bare engine."""
    run_dir, found = capacity_proof(CapacityProof(), slo, progress)
    report = build.report(run_dir, slo)
    write.write_all(report, run_dir)
    header = ("target", "holds", "too many", "about", "requests", "limited by")
    answers = "\n".join(f"- {line}" for line in (*report.answers.lines, *report.reasons))
    return write_page(
        EVIDENCE,
        "capacity",
        "How many talkers this machine carries: router and bare engine",
        f"{COMMAND} capacity",
        f"Talkers without a pause that hold TTFT p95 at most {found.target_ms:g} ms with fewer "
        f"than {found.error_target:.0%} errors, one run, in turn. local_only is the bare "
        "engine with the guide's 4 slots, hybrid the router before an engine with 24; its backup "
        "is an **emulated** cloud.\n\n"
        f"{markdown_table(header, capacity_rows(found))}\n\n{answers}\n\n"
        f"```text\n{terminal.table(report)}\n```",
    )


def prove_overload(slo: Slo, progress: Progress) -> Path:
    """An open loop beyond the engine's capacity: who sees the queue?"""
    plan = Overload()
    run_dir, (closed, *opened) = overload(plan, slo, progress)
    intro = (
        f"{plan.slots} talkers in a closed loop reach "
        f"{closed.requests / ((closed.stop_ns - closed.steady_ns) / NS_PER_S):.2f} replies a "
        f"second from the bare engine with {plan.slots} slots. An open loop of {plan.factor:g} "
        f"times as many starts, Poisson, for {plan.seconds:g} s, medians by quarter:"
    )
    parts = [intro]
    for block in opened:
        header = ("quarter", "starts", "TTFT ms", "TTFT_user ms")
        parts.append(
            f"**{block.step_users} talkers**: {block.scheduled} starts planned, {block.requests} "
            f"delivered, {block.late} late, {block.dropped} dropped, {block.errors} errors.\n\n"
            + markdown_table(header, by_quarter(run_dir, block))
        )
    return write_page(
        EVIDENCE,
        "overload",
        "An open loop at 1.5 times the capacity",
        f"{COMMAND} overload",
        "\n\n".join(parts)
        + "\n\nWith few talkers the queue stands in front of the client: TTFT does not see it, "
        "TTFT_user (from the planned start) does.",
    )


def prove_sessions(slo: Slo, progress: Progress) -> Path:
    """Twenty devices in conversation through the router: every request joined and split."""
    plan = Talking()
    run_dir = talking(plan, slo, progress)
    report = build.report(run_dir, slo)
    write.write_all(report, run_dir)
    check = report.details.waterfall.check
    figure = "sessions-waterfall.png"
    EVIDENCE.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run_dir / "figures" / "waterfall.png", EVIDENCE / figure)
    return write_page(
        EVIDENCE,
        "sessions",
        "Twenty talking devices, three minutes, joined request by request",
        f"{COMMAND} sessions",
        f"{plan.devices} devices in conversation for {plan.seconds:g} s, router before "
        f"{plan.slots} slots, backup an **emulated** cloud. Verdict: {report.verdict}.\n\n"
        f"- joined with the router's records: {check.joined} of {check.routed}\n"
        f"- split into phases: {check.split}; stamps out of order: {check.out_of_order}\n"
        f"- phases sum to TTFT within {check.budget_ms:g} ms for "
        f"{check.sum_within.value or 0:.2%} of {check.sum_within.n}\n"
        f"- TTFT less what the router measured: p50 {check.residual_p50_ms or 0:.2f} ms, p99 "
        f"{check.residual_p99_ms or 0:.2f} ms; within {check.budget_ms:g} ms for "
        f"{check.residual_within.value or 0:.2%}\n\n"
        f"![waterfall of single requests]({figure})\n\n"
        f"```text\n{terminal.table(report)}\n```",
    )


def prove_report(slo: Slo, progress: Progress) -> Path:  # noqa: ARG001 - nothing is judged
    """What a report costs, up to a million requests."""
    found = costs(progress)
    last = found[-1]
    kept = last.seconds <= MOST_SECONDS and last.peak_bytes <= MOST_BYTES
    return write_page(
        EVIDENCE,
        "report",
        "What a report costs",
        f"{COMMAND} report",
        "`firsttoken report` in a process of its own, start-up and all figures included, on runs "
        "of four steps and three arms whose rows were drawn; a third of them carry a router's "
        "decisions and attempts. Memory is that of the process with its child, looked at four "
        f"times a second. Allowed for the largest: {MOST_SECONDS:g} s and {MOST_BYTES >> 20} MiB: "
        f"{'kept' if kept else '**not kept**'}.\n\n{cost_table(found)}",
    )


def prove_report_page(slo: Slo, progress: Progress) -> Path:
    """The page of a run with real faults, in a real browser."""
    return write_page(
        EVIDENCE,
        "report-page",
        "The page of a run with real faults",
        f"{COMMAND} report-page",
        page_proof(slo, progress, EVIDENCE),
    )


def prove_alert_loop(slo: Slo, progress: Progress) -> Path:  # noqa: ARG001 - the rules have their own
    """From a fault of the engine to its recovery, by way of Prometheus and Alertmanager."""
    return write_page(
        EVIDENCE,
        "alert-loop",
        "From a fault to its recovery: the alert loop and the router's own breaker",
        f"{COMMAND} alert-loop",
        alert_loop(progress),
    )


def prove_boards(slo: Slo, progress: Progress) -> Path:
    """Pictures of every board from a run of three minutes, with an engine that stands still."""
    plan = Run()
    pictures = boards(plan, slo, progress)
    listed = "\n\n".join(f"![{path.stem}](../boards/{path.name})" for path in pictures)
    return write_page(
        EVIDENCE,
        "boards",
        "Every board, from a real run",
        f"{COMMAND} boards",
        f"{plan.talkers} talkers for {plan.seconds:g} s through the router before the embedded "
        f"engine; after {plan.before:g} s the engine stands still for {plan.still:g} s. Backup is "
        "an **emulated** cloud; the alert loop is in dry run. Previews drawn by firsttoken from "
        f"the boards' JSON and a real Prometheus: not made by Grafana.\n\n{listed}",
    )


def prove_fault_matrix(slo: Slo, progress: Progress) -> Path:  # noqa: ARG001 - nothing is timed
    """What a person hears when a model server goes wrong."""
    try:
        # Its client is there for development alone: all other proofs run without it.
        from firsttoken.trials.fault_matrix import fault_matrix  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "openai":
            raise
        raise UserError("the proof fault-matrix needs the package openai: install it") from error
    return write_page(
        EVIDENCE,
        "fault-matrix",
        "What a person hears when a model server goes wrong",
        f"{COMMAND} fault-matrix",
        fault_matrix(progress),
    )


def prove_statistics(slo: Slo, progress: Progress) -> Path:  # noqa: ARG001 - nothing is judged
    """Do intervals hold the truth as often as they say?"""
    return write_page(
        EVIDENCE,
        "statistics",
        "How often the intervals hold the truth",
        f"{COMMAND} statistics",
        statistics_page(progress),
    )


def prove_gate(slo: Slo, progress: Progress) -> Path:
    """How often is the gate red for nothing, and how often for something?"""
    plan = Recording()
    run_dirs = record(plan, slo, progress)
    page = gate_page(
        run_dirs, plan, EVIDENCE / "gate-power.png", progress, target_ms=slo.ttft_p95_ms
    )
    return write_page(
        EVIDENCE, "gate", "How often the gate errs, on real runs", f"{COMMAND} gate", page
    )


def prove_tune(slo: Slo, progress: Progress) -> Path:
    """Which slots and threads win at 20 talkers against the guide's settings."""
    plan = TryPlan()
    settings = settings_room.load(None, environ={})
    run_dir, found = tune_try(plan, settings, slo, progress)
    requests = read_table(run_dir, "requests").to_pandas()
    mine = requests[(requests["arm"] == found.reference.name) & (requests["phase"] == Phase.STEADY)]
    patience_s = settings.llm_routing.local_model.timeout if settings.llm_routing.local_model else 5
    beyond = float((mine["ttft_ms"] > patience_s * 1000).mean())
    return write_page(
        EVIDENCE,
        "tune",
        "Settings tried on the embedded engine: 20 talkers",
        f"{COMMAND} tune",
        f"`firsttoken tune --try`: {plan.users} talkers without a pause, 8 to {plan.max_tokens} "
        f"tokens a reply, at most {plan.seconds:g} s in all; the engine is started anew for each "
        f"look. The guide's settings: {found.reference} (its num_thread 4 or the cores, whichever "
        "is less; it names no slots, and Ollama's default is one), num_ctx 2048.\n\n"
        f"{tune_markdown(found)}\n\n"
        f"With the guide's settings {beyond:.0%} of the first tokens (n {len(mine)}) came after "
        f"more than {patience_s:g} s, the guide's timeout: a longer one would have called them "
        "successes.",
    )


def prove_tune_sentences(slo: Slo, progress: Progress) -> Path:
    """What the guide's tuning sentences do to the first token, side by side."""
    plan = Sentences()
    run_dir, beside = tune_sentences(plan, slo, progress)
    header = ("arm", "requests", "errors", "TTFT p50 ms", "ratio", "p95 ms", "ratio")
    return write_page(
        EVIDENCE,
        "tune-sentences",
        "The guide's tuning sentences, measured side by side",
        f"{COMMAND} tune-sentences",
        f"{plan.users} talkers without a pause, {plan.slots} slots, {plan.rounds} turns of "
        f"{plan.step_seconds:g} s an arm on one schedule. Ratios are to the settings as they are, "
        "with the 95 % interval. cache_cleared: the engine keeps nothing of earlier prompts.\n\n"
        + markdown_table((*header, "prefill p50 ms"), sentence_rows(run_dir))
        + f"\n\nA restart of the engine took {beside.restart_ms:.0f} ms until it answered again; "
        f"checking the model file {beside.check_ms:.0f} ms.",
    )


def prove_models(slo: Slo, progress: Progress) -> Path:
    """The guide's model table, filled with two models that install as packages."""
    settings = settings_room.load(None, environ={})
    with tempfile.TemporaryDirectory(prefix="firsttoken-models-") as folder:
        plan = ModelsPlan(two_models(Path(folder)), seconds=35.0)
        _, found = measure_models(plan, settings, slo, progress)
    return write_page(
        EVIDENCE,
        "models",
        "The guide's model table, filled from measurement",
        f"{COMMAND} models",
        "`firsttoken bench --models` with the packaged model and with Gemma 3 270M, a base model "
        f"that was never taught to converse, from the package `{SECOND}`: the two that install "
        "here as packages. None of the guide's four does, so they stand as claims.\n\n"
        + models_page.markdown(found),
    )


def prove_voice(slo: Slo, progress: Progress) -> Path:
    """Twenty devices behind a voice server, without memory summaries and with them, two ways."""
    plan = VoiceLoad()
    run_dir, blocks = voice_load(plan, slo, progress)
    return write_page(
        EVIDENCE,
        "voice",
        "Do memory summaries make those who talk wait?",
        f"{COMMAND} voice",
        voice_page(plan, run_dir, blocks, slo.ttft_p95_ms),
    )


def prove_direct_answer(slo: Slo, progress: Progress) -> Path:  # noqa: ARG001 - nothing is judged
    """The first sentence of an answer through a tool: unwrapped, in pieces, in one call."""
    plan = DirectAnswer()
    return write_page(
        EVIDENCE,
        "direct-answer",
        "The first sentence of an answer through the tool `direct_answer`",
        f"{COMMAND} direct-answer",
        direct_answer_page(plan, direct_answer(plan, progress)),
    )


def prove_prefix(slo: Slo, progress: Progress) -> Path:  # noqa: ARG001 - nothing is judged
    """How much of a long prompt the engine finds in its cache from turn to turn."""
    plan = PrefixPlan()
    return write_page(
        EVIDENCE,
        "prefix",
        "The prompt of a talking device in the engine's cache",
        f"{COMMAND} prefix",
        prefix_page(plan, prefix(plan, progress)),
    )


PROOFS: dict[str, Callable[[Slo, Progress], Path]] = {
    "alert-loop": prove_alert_loop,
    "boards": prove_boards,
    "capacity": prove_capacity,
    "clock": prove_clock,
    "direct-answer": prove_direct_answer,
    "fault-matrix": prove_fault_matrix,
    "first-token": prove_first_token,
    "gate": prove_gate,
    "models": prove_models,
    "steps": prove_steps,
    "overload": prove_overload,
    "prefix": prove_prefix,
    "report": prove_report,
    "report-page": prove_report_page,
    "sessions": prove_sessions,
    "soak": prove_soak,
    "tune": prove_tune,
    "tune-sentences": prove_tune_sentences,
    "statistics": prove_statistics,
    "voice": prove_voice,
}


def main() -> None:
    """Run the named proofs, or all of them."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("proofs", nargs="*", metavar="PROOF", help=f"{', '.join(PROOFS)}; all")
    names = parser.parse_args().proofs or list(PROOFS)
    unknown = [name for name in names if name not in PROOFS]
    if unknown:
        parser.error(f"unknown proof {unknown[0]!r}; expected {', '.join(PROOFS)}")
    progress = Progress()
    try:
        slo = slo_room.load(None, settings_room.load(None))
        for name in names:
            progress.say(f"wrote {PROOFS[name](slo, progress)}")
    except UserError as error:
        print(f"prove: {error}", file=sys.stderr)
        sys.exit(ExitCode.USAGE)


if __name__ == "__main__":
    main()
