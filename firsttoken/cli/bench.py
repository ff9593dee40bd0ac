"""``firsttoken bench``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from firsttoken.core.errors import UserError

MAX_USERS = 2000


def parse_users(text: str) -> tuple[int, ...]:
    """Read ``5,20`` as numbers of talkers.

    Raises:
        UserError: an item is no whole number from 1 to 2,000, or stands twice.
    """
    steps = []
    for item in text.split(","):
        if not item.strip().isdecimal() or not 1 <= int(item) <= MAX_USERS:
            raise UserError(
                f"--users {text}: {item.strip()!r} is no whole number from 1 to {MAX_USERS}; "
                "expected numbers of talkers such as 5,20"
            )
        steps.append(int(item))
    if len(set(steps)) != len(steps):
        raise UserError(f"--users {text}: a number stands twice")
    return tuple(steps)


def bench(
    target: Annotated[
        str, typer.Option(help="Base URL of the server, such as http://127.0.0.1:8080.")
    ],
    model: Annotated[
        str | None, typer.Option(help="Model to ask for. Default: the first the server lists.")
    ] = None,
    dialect: Annotated[
        str, typer.Option(help="openai, ollama, ollama_generate or dashscope.")
    ] = "openai",
    api_key_env: Annotated[
        str | None, typer.Option(help="Environment variable that holds the key.")
    ] = None,
    scenario: Annotated[
        str | None,
        typer.Option(
            help="Scenario of loadtests/: steps, open_loop, sessions, burst, replay or soak. "
            "Default: steps; with --capacity: sessions.",
        ),
    ] = None,
    users: Annotated[
        str | None,
        typer.Option(
            help="Talkers, one step each. Default: 5,10,15,20; sessions, soak, burst: 20; "
            "open_loop, replay: 64, of which as many speak as have to.",
        ),
    ] = None,
    step_seconds: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=86400,
            help="Seconds measured a step, after warm-up. "
            "Default: 10; burst, open_loop: 60; sessions: 180; soak: 900; replay: the whole trace.",
        ),
    ] = None,
    think: Annotated[
        str | None,
        typer.Option(
            help="Seconds from the end of the spoken reply to the next turn: 1,4.",
        ),
    ] = None,
    turns: Annotated[
        str | None,
        typer.Option(help="Turns of a conversation: 3,8."),
    ] = None,
    barge_in: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of replies the person means to interrupt: 0.07.",
        ),
    ] = None,
    burst_period: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=3600,
            help="Seconds between two bursts: 10.",
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=10_000,
            help="Starts a second of open_loop: 1.",
        ),
    ] = None,
    arrivals: Annotated[
        str | None,
        typer.Option(
            help="Gaps of open_loop: poisson, constant or gamma.",
        ),
    ] = None,
    burstiness: Annotated[
        float | None,
        typer.Option(
            min=0.05,
            max=10,
            help="Standard deviation over mean of gamma's gaps: 2.",
        ),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            help="CSV file to replay; see docs/load-tests.md.",
        ),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=1000,
            help="Times as fast as the trace was: 1.",
        ),
    ] = None,
    drop_after: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=3600,
            help="Seconds that a planned start waits for a free talker: 120.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Base URL of a second server: the two take turns in one run.",
        ),
    ] = None,
    against_model: Annotated[
        str | None,
        typer.Option(
            help="Model to ask of it. Default: the first it lists.",
        ),
    ] = None,
    against_dialect: Annotated[
        str | None,
        typer.Option(help="Its dialect. Default: that of --target."),
    ] = None,
    against_api_key_env: Annotated[
        str | None,
        typer.Option(help="Environment variable that holds its key."),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            help="Turns of each with --against: 6.",
        ),
    ] = None,
    capacity: Annotated[
        bool,
        typer.Option(
            "--capacity",
            help="Search the largest load that holds the targets.",
        ),
    ] = False,
    capacity_of: Annotated[
        str | None,
        typer.Option(
            help="devices, or rate: requests a second. Default: devices.",
        ),
    ] = None,
    capacity_minutes: Annotated[
        float | None,
        typer.Option(min=0.1, max=1440, help="Time for the search: 15."),
    ] = None,
    capacity_cap: Annotated[
        float | None,
        typer.Option(
            min=0.05,
            help="Largest load to try: 200 devices, 100 a second.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="Load generators on this machine. Default: one, alone.",
        ),
    ] = None,
    expect_workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="Load generators to wait for; their command line is printed.",
        ),
    ] = None,
    bind: Annotated[
        str | None,
        typer.Option(
            help="Address to wait for them on: 127.0.0.1. For other machines 0.0.0.0, in a private "
            "network only: Locust's protocol has no password.",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Port to wait for them on: 5557.",
        ),
    ] = None,
    settle: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=3600,
            help="Longest wait, after the ramp, for the load to come to rest. "
            "Default: 30; burst: 0, the warm-up is fixed.",
        ),
    ] = None,
    until_ci: Annotated[
        str | None,
        typer.Option(
            help="Go on until half the 95% interval of the TTFT p95 is at most this share of it: "
            "5%.",
        ),
    ] = None,
    until_cap: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=86400,
            help="Longest step then. Default: 10 x --step-seconds.",
        ),
    ] = None,
    pin: Annotated[
        bool,
        typer.Option(
            "--pin",
            help="Keep the load generator to the last core and off the server's.",
        ),
    ] = False,
    max_tokens: Annotated[
        int, typer.Option(min=1, max=4096, help="Longest reply asked for; the shortest: 8 tokens.")
    ] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the schedule.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Run folder. Default: runs/<UTC>-<scenario>.")
    ] = None,
    slo: Annotated[
        Path | None, typer.Option(help="Acceptance targets. Default: config/slo.yaml.")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print report.json and nothing else.")
    ] = False,
) -> None:
    """Measure the first token of any OpenAI-, Ollama- or DashScope-speaking server.

    Ends with the verdict's exit code: 0 PASS, 1 FAIL, 2 bad usage, 3 INCONCLUSIVE, 4 UNTRUSTED.
    With --capacity: 0 an interval was found, 3 the data did not suffice, 4 UNTRUSTED.

    \b
    Examples:
      firsttoken bench --target http://127.0.0.1:11434 --users 5,20
      firsttoken bench --target http://127.0.0.1:8080 --scenario sessions
      firsttoken bench --target http://127.0.0.1:8080 --against http://127.0.0.1:11434
      firsttoken bench --target http://127.0.0.1:8080 --capacity
    """
    from firsttoken.cli import planned, resting, seeking, sharing, talking
    from firsttoken.cli.finish import finish, open_slo, stopped_by_ctrl_c
    from firsttoken.trials import bench as trial
    from firsttoken.trials.measure import SCENARIOS
    from firsttoken.trials.progress import Progress
    from firsttoken.trials.versus import Asked

    def scenario_options(name: str, seconds: float) -> dict[str, Any]:
        starts = planned.options_of(
            name,
            rate=rate,
            arrivals=arrivals,
            burstiness=burstiness,
            trace=trace,
            speed=speed,
            drop_after=drop_after,
        )
        talk = talking.options_of(
            name,
            think=think,
            turns=turns,
            barge_in=barge_in,
            burst_period=burst_period,
            step_seconds=seconds,
        )
        return {**starts, **talk}

    if scenario is not None and scenario not in SCENARIOS:
        raise UserError(f"--scenario {scenario}: expected {' or '.join(SCENARIOS)}")
    opponent = seeking.opponent(
        against, against_model, against_dialect, against_api_key_env, dialect
    )
    search = seeking.search(
        wanted=capacity,
        of=capacity_of,
        minutes=capacity_minutes,
        cap=capacity_cap,
        scenario=scenario,
        options_of=scenario_options,
        unwanted={
            "--users": users,
            "--step-seconds": step_seconds,
            "--rounds": rounds,
            "--settle": settle,
            "--until-ci": until_ci,
            "--until-cap": until_cap,
            "--pin": pin or None,
            "--workers": workers,
            "--expect-workers": expect_workers,
            "--bind": bind,
            "--port": port,
            "--rate": rate if capacity_of == "rate" else None,
        },
    )
    targets = open_slo(slo)
    if search is not None:
        search = replace(search, seed=seed, max_tokens=max_tokens)
        asked = Asked(target, model, dialect, api_key_env)
        with stopped_by_ctrl_c():
            run_dir = trial.bench_capacity(
                asked, search, targets, Progress(), against=opponent, out=out
            )
        finish(run_dir, targets, json_output)
    scenario = scenario or "steps"
    defaults = talking.DEFAULTS.get(scenario, talking.OTHERWISE)
    seconds = defaults.step_seconds if step_seconds is None else step_seconds
    steps = parse_users(seeking.users_of(users, defaults.users, opponent))
    options = scenario_options(scenario, seconds)
    generators = sharing.generators_of(workers, expect_workers, bind, port, min(steps))
    settle = sharing.settle_of(generators, settle, until_ci)
    options |= resting.options_of(scenario, settle=settle, until_ci=until_ci, until_cap=until_cap)
    if scenario in planned.SCENARIOS:
        seconds = planned.seconds_of(options, steps, step_seconds, defaults.step_seconds)
    request = trial.Bench(
        url=target,
        model=model,
        dialect=dialect,
        api_key_env=api_key_env,
        steps=steps,
        step_seconds=seconds,
        warmup_seconds=defaults.warmup_seconds,
        scenario=scenario,
        seed=seed,
        max_tokens=max_tokens,
        out=out,
        against=opponent,
        rounds=seeking.rounds_of(rounds, opponent),
        generators=generators,
        options=options,
        pinning=resting.pinning_of(pin),
    )
    with stopped_by_ctrl_c():
        run_dir = trial.bench(request, targets, Progress())
    finish(run_dir, targets, json_output)
