"""``firsttoken bench``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import typer

from firsttoken.cli import bench_options as option
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
    context: typer.Context,
    target: option.Target = None,
    models: option.Models = None,
    model: option.Model = None,
    dialect: option.Dialect = "openai",
    api_key_env: option.ApiKeyEnv = None,
    scenario: option.Scenario = None,
    users: option.Users = None,
    step_seconds: option.StepSeconds = None,
    think: option.Think = None,
    turns: option.Turns = None,
    barge_in: option.BargeIn = None,
    burst_period: option.BurstPeriod = None,
    voice_tools: option.VoiceTools = None,
    voice_language: option.VoiceLanguage = None,
    memory_jobs: option.MemoryJobs = None,
    rate: option.Rate = None,
    arrivals: option.Arrivals = None,
    burstiness: option.Burstiness = None,
    trace: option.Trace = None,
    speed: option.Speed = None,
    drop_after: option.DropAfter = None,
    against: option.Against = None,
    against_model: option.AgainstModel = None,
    against_dialect: option.AgainstDialect = None,
    against_api_key_env: option.AgainstApiKeyEnv = None,
    rounds: option.Rounds = None,
    capacity: option.Capacity = False,
    capacity_of: option.CapacityOf = None,
    capacity_minutes: option.CapacityMinutes = None,
    capacity_cap: option.CapacityCap = None,
    workers: option.Workers = None,
    expect_workers: option.ExpectWorkers = None,
    bind: option.Bind = None,
    port: option.Port = None,
    settle: option.Settle = None,
    until_ci: option.UntilCi = None,
    until_cap: option.UntilCap = None,
    pin: option.Pin = False,
    max_tokens: option.MaxTokens = 32,
    seed: option.Seed = 1,
    out: option.Out = None,
    slo: option.Slo = None,
    json_output: option.JsonOutput = False,
) -> None:
    """Measure the first token of any OpenAI-, Ollama- or DashScope-speaking server.

    Ends with the verdict's exit code: 0 PASS, 1 FAIL, 2 bad usage, 3 INCONCLUSIVE, 4 UNTRUSTED.
    With --capacity: 0 an interval was found, 3 the data did not suffice, 4 UNTRUSTED.
    With --models: 0 at least one was measured, 2 none.

    \b
    Examples:
      firsttoken bench --target http://127.0.0.1:11434 --users 5,20
      firsttoken bench --target http://127.0.0.1:8080 --scenario sessions
      firsttoken bench --target http://127.0.0.1:8080 --scenario voice --voice-language zh
      firsttoken bench --target http://127.0.0.1:8080 --against http://127.0.0.1:11434
      firsttoken bench --target http://127.0.0.1:8080 --capacity
      firsttoken bench --models packaged,other.gguf
    """
    if models is not None:
        from firsttoken.cli import choosing

        plan = choosing.plan_of(
            models,
            target=target,
            step_seconds=step_seconds,
            seed=seed,
            out=out,
            unwanted=choosing.unfitting(context),
        )
        choosing.run(plan, slo, json_output=json_output)
    if target is None:
        raise UserError("expected --target URL, the server to measure, or --models FILES")

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
        behind = talking.voice_options_of(
            name, tools=voice_tools, language=voice_language, memory_jobs=memory_jobs
        )
        return {**starts, **talk, **behind}

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
