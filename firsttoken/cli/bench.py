"""``firsttoken bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    scenario: Annotated[str, typer.Option(help="Scenario of loadtests/: steps.")] = "steps",
    users: Annotated[str, typer.Option(help="Talkers, one step each.")] = "5,10,15,20",
    step_seconds: Annotated[
        float, typer.Option(min=1, max=86400, help="Seconds measured a step, after warm-up.")
    ] = 10.0,
    max_tokens: Annotated[int, typer.Option(min=1, max=4096, help="Tokens a reply.")] = 32,
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

    Example: firsttoken bench --target http://127.0.0.1:11434 --users 5,20 --step-seconds 10
    """
    from firsttoken.cli.finish import finish, open_slo, stopped_by_ctrl_c
    from firsttoken.trials import bench as trial
    from firsttoken.trials.measure import SCENARIOS
    from firsttoken.trials.progress import Progress

    if scenario not in SCENARIOS:
        raise UserError(f"--scenario {scenario}: expected {' or '.join(SCENARIOS)}")
    request = trial.Bench(
        url=target,
        model=model,
        dialect=dialect,
        api_key_env=api_key_env,
        steps=parse_users(users),
        step_seconds=step_seconds,
        scenario=scenario,
        seed=seed,
        max_tokens=max_tokens,
        out=out,
    )
    targets = open_slo(slo)
    with stopped_by_ctrl_c():
        run_dir = trial.bench(request, targets, Progress())
    finish(run_dir, targets, json_output)
