"""The options of ``firsttoken bench``: types, bounds and help. What they mean together is in
``choosing``, ``planned``, ``resting``, ``seeking``, ``sharing`` and ``talking``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

# What is measured.
Target = Annotated[
    str | None,
    typer.Option(help="Base URL of the server, such as http://127.0.0.1:8080."),
]
Models = Annotated[
    str | None,
    typer.Option(
        help="Measure models instead, one talker each: GGUF files a.gguf,b.gguf, packaged for "
        "the one that comes along; with an Ollama at --target also its names (each is unloaded "
        "before and after). Needs no --target else. --step-seconds: at most, for 72 first "
        "tokens; default 60.",
    ),
]
Model = Annotated[
    str | None, typer.Option(help="Model to ask for. Default: the first the server lists.")
]
Dialect = Annotated[str, typer.Option(help="openai, ollama, ollama_generate or dashscope.")]
ApiKeyEnv = Annotated[str | None, typer.Option(help="Environment variable that holds the key.")]

# The load.
Scenario = Annotated[
    str | None,
    typer.Option(
        help="Scenario of loadtests/: steps, open_loop, sessions, burst, replay, soak or voice. "
        "Default: steps; with --capacity: sessions.",
    ),
]
Users = Annotated[
    str | None,
    typer.Option(
        help="Talkers, one step each. Default: 5,10,15,20; sessions, soak, voice, burst: 20; "
        "open_loop, replay: 64, of which as many speak as have to.",
    ),
]
StepSeconds = Annotated[
    float | None,
    typer.Option(
        min=1,
        max=86400,
        help="Seconds measured a step, after warm-up. "
        "Default: 10; burst, open_loop: 60; sessions, voice: 180; soak: 900; "
        "replay: the whole trace.",
    ),
]
Think = Annotated[
    str | None,
    typer.Option(
        help="Seconds from the end of the spoken reply to the next turn: 1,4.",
    ),
]
Turns = Annotated[
    str | None,
    typer.Option(help="Turns of a conversation: 3,8."),
]
BargeIn = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Share of replies the person means to interrupt: 0.07.",
    ),
]
VoiceTools = Annotated[
    str | None,
    typer.Option(help="What the voice server of voice offers the model: full, intent or none."),
]
VoiceLanguage = Annotated[
    str | None,
    typer.Option(help="Whose personas speak in voice: all, zh or en."),
]
MemoryJobs = Annotated[
    str | None,
    typer.Option(help="Sum up each conversation of voice once it is over: on or off. Default: on."),
]
BurstPeriod = Annotated[
    float | None,
    typer.Option(
        min=0.1,
        max=3600,
        help="Seconds between two bursts: 10.",
    ),
]

# Loads whose starts are planned: open loop and replay.
Rate = Annotated[
    float | None,
    typer.Option(
        min=0.001,
        max=10_000,
        help="Starts a second of open_loop: 1.",
    ),
]
Arrivals = Annotated[
    str | None,
    typer.Option(
        help="Gaps of open_loop: poisson, constant or gamma.",
    ),
]
Burstiness = Annotated[
    float | None,
    typer.Option(
        min=0.05,
        max=10,
        help="Standard deviation over mean of gamma's gaps: 2.",
    ),
]
Trace = Annotated[
    Path | None,
    typer.Option(
        help="CSV file to replay; see docs/load-tests.md.",
    ),
]
Speed = Annotated[
    float | None,
    typer.Option(
        min=0.001,
        max=1000,
        help="Times as fast as the trace was: 1.",
    ),
]
DropAfter = Annotated[
    float | None,
    typer.Option(
        min=0.1,
        max=3600,
        help="Seconds that a planned start waits for a free talker: 120.",
    ),
]

# A second target.
Against = Annotated[
    str | None,
    typer.Option(
        help="Base URL of a second server: the two take turns in one run.",
    ),
]
AgainstModel = Annotated[
    str | None,
    typer.Option(
        help="Model to ask of it. Default: the first it lists.",
    ),
]
AgainstDialect = Annotated[
    str | None,
    typer.Option(help="Its dialect. Default: that of --target."),
]
AgainstApiKeyEnv = Annotated[
    str | None,
    typer.Option(help="Environment variable that holds its key."),
]
Rounds = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1000,
        help="Turns of each with --against: 6.",
    ),
]

# The search for the capacity.
Capacity = Annotated[
    bool,
    typer.Option(
        "--capacity",
        help="Search the largest load that holds the targets.",
    ),
]
CapacityOf = Annotated[
    str | None,
    typer.Option(
        help="devices, or rate: requests a second. Default: devices.",
    ),
]
CapacityMinutes = Annotated[
    float | None,
    typer.Option(min=0.1, max=1440, help="Time for the search: 15."),
]
CapacityCap = Annotated[
    float | None,
    typer.Option(
        min=0.05,
        help="Largest load to try: 200 devices, 100 a second.",
    ),
]

# Several load generators.
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=64,
        help="Load generators on this machine. Default: one, alone.",
    ),
]
ExpectWorkers = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=64,
        help="Load generators to wait for; their command line is printed.",
    ),
]
Bind = Annotated[
    str | None,
    typer.Option(
        help="Address to wait for them on: 127.0.0.1. For other machines 0.0.0.0, in a private "
        "network only: Locust's protocol has no password.",
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help="Port to wait for them on: 5557.",
    ),
]

# When the steady part begins and ends, and cores.
Settle = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=3600,
        help="Longest wait, after the ramp, for the load to come to rest. "
        "Default: 30; burst: 0, the warm-up is fixed.",
    ),
]
UntilCi = Annotated[
    str | None,
    typer.Option(
        help="Go on until half the 95% interval of the TTFT p95 is at most this share of it: 5%.",
    ),
]
UntilCap = Annotated[
    float | None,
    typer.Option(
        min=1,
        max=86400,
        help="Longest step then. Default: 10 x --step-seconds.",
    ),
]
Pin = Annotated[
    bool,
    typer.Option(
        "--pin",
        help="Keep the load generator to the last core and off the server's.",
    ),
]

# The run.
MaxTokens = Annotated[
    int, typer.Option(min=1, max=4096, help="Longest reply asked for; the shortest: 8 tokens.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the schedule.")]
Out = Annotated[Path | None, typer.Option(help="Run folder. Default: runs/<UTC>-<scenario>.")]
Slo = Annotated[Path | None, typer.Option(help="Acceptance targets. Default: config/slo.yaml.")]
JsonOutput = Annotated[bool, typer.Option("--json", help="Print report.json and nothing else.")]
