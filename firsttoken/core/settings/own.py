"""Sections of the project's own, all with defaults that keep the guide's file valid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, Strict, model_validator

from firsttoken.core.catalogue import Action
from firsttoken.core.settings.kinds import (
    EnvironmentName,
    FilePath,
    Port,
    Seconds,
    Section,
    Share,
    Slots,
)

SERVICE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,127}$"
"""Of a container or a unit; the first character is none of an option."""


class Server(Section):
    """``server``: the router's own front.

    ``api_keys_env`` names an environment variable, ``api_keys_file`` a file, with the keys a
    client may present: separated by commas, spaces or lines. Without either, no key is asked
    for. ``max_body_bytes`` bounds one request, ``max_concurrency`` the requests in flight.
    """

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:_-]{1,253}$")] = "127.0.0.1"
    port: Port = 8080
    max_body_bytes: Annotated[int, Field(ge=1024, le=67_108_864)] = 2_097_152
    max_concurrency: Annotated[int, Field(ge=1, le=100_000)] = 256
    api_keys_env: EnvironmentName | None = None
    api_keys_file: FilePath | None = None
    keep_texts: bool = False
    """Whether ``/debug/decisions`` shows what users said, 500 characters at most."""


class Admission(Section):
    """``admission``: the queue before a local engine that reports, or is given, its slots.

    ``queue`` bounds the requests that wait; left out, as many as there are slots, at least 16.
    """

    enable: bool = True
    queue: Annotated[int, Field(ge=0, le=100_000)] | None = None


class Hedging(Section):
    """``hedging``: a remote backend is asked too when the local one is late.

    ``extra_load`` is the share of requests that may be asked twice.
    """

    enable: bool = True
    extra_load: Share = 0.1


class Confidence(Section):
    """``confidence``: how many ``tokens`` of a local reply are looked at before they are handed on,
    where that is possible within ``budget`` seconds from the request. 0 tokens: never."""

    tokens: Annotated[int, Field(ge=0, le=32)] = 3
    budget: Seconds = 0.4


class Conversations(Section):
    """``conversations``: one in which nothing is asked for ``idle_seconds`` has ended."""

    idle_seconds: Seconds = 120.0


class Engine(Section):
    """``engine``: the embedded engine.

    ``model`` is a GGUF file; left out, the small model that comes with the package. ``context``
    (tokens of one slot) and ``threads`` default to ``local_optimization``. ``flash_attention`` off
    makes the first tokens of long prompts that are in the cache come sooner, and reading them at
    first take longer. ``port`` 0 asks the operating system for a free one.
    """

    model: FilePath | None = None
    slots: Slots = 24
    context: Annotated[int, Field(ge=128, le=1_048_576)] | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    flash_attention: bool = True
    port: Port = 0


class Recovery(Section):
    """``recovery``: restarting the local engine when it is dead or its memory is full.

    ``adapter`` says how: ``embedded`` (an engine that the router's own process started),
    ``ollama`` (unload and load the model), ``docker`` and ``systemd`` (``name`` is the container
    or the unit), ``command`` (a program and its arguments; no shell). ``memory`` is the share of
    the limit that may be in use, ``cool_down`` the seconds between two restarts, ``most_per_hour``
    their number, ``drain`` the seconds for which requests under way are waited for, ``timeout``
    those for which the adapter may take, ``ready`` those after which the engine has to answer.
    """

    adapter: Literal["none", "embedded", "ollama", "docker", "systemd", "command"] = "none"
    name: Annotated[str, Field(pattern=SERVICE_NAME)] | None = None
    command: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...], Strict(strict=False), Field(max_length=50)
    ] = ()
    memory: Annotated[Share, Field(gt=0)] = 0.9
    cool_down: Seconds = 60.0
    most_per_hour: Annotated[int, Field(ge=1, le=60)] = 3
    drain: Seconds = 10.0
    timeout: Seconds = 60.0
    ready: Seconds = 120.0

    @model_validator(mode="after")
    def _of_the_adapter(self) -> Self:
        needs = {"docker": "name", "systemd": "name", "command": "command"}.get(self.adapter)
        if needs and not getattr(self, needs):
            what = "the container or the unit" if needs == "name" else "a program in a list"
            raise ValueError(f"adapter {self.adapter} lacks {needs}; expected {what}")
        return self


class ActionLimit(Section):
    """How often one action may be carried out: ``cool_down`` seconds from one to the next, and
    ``most_per_hour`` of them."""

    cool_down: Seconds
    most_per_hour: Annotated[int, Field(ge=1, le=60)]


class ActionLimits(Section):
    """``alert_actions.limits``: by action."""

    investigate_performance: ActionLimit = ActionLimit(cool_down=300, most_per_hour=6)
    switch_to_remote: ActionLimit = ActionLimit(cool_down=60, most_per_hour=10)
    restart_service: ActionLimit = ActionLimit(cool_down=900, most_per_hour=2)
    reduce_local_traffic: ActionLimit = ActionLimit(cool_down=60, most_per_hour=20)


ActionName = Annotated[Action, Strict(strict=False)]
AlertName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]


class AlertActions(Section):
    """``alert_actions``: what is done, without a person, when Alertmanager reports an alert.

    ``enable`` opens ``POST /-/alerts``; ``dry_run`` decides and tells, and does nothing.
    ``token_env`` or ``token_file`` holds the bearer token that has to be presented. While a file
    ``kill_switch`` exists, nothing is done. ``audit_log`` gets a line for whatever was asked for;
    ``snapshots`` is the folder of ``investigate_performance``, which keeps the last
    ``most_snapshots``. ``alerts`` lets alerts of these names ask for an action, beside those of
    ``monitoring_metrics.alerts`` and of our own rules. An alert that began more than ``stale``
    seconds ago is not acted on; one that began ``flaps`` times within ``flap_window`` seconds
    freezes its action for ``freeze`` seconds. A local backend that was switched off stays so for
    ``hold`` seconds, then until ``probes`` probes in a row have succeeded.
    """

    enable: bool = False
    dry_run: bool = True
    token_env: EnvironmentName | None = None
    token_file: FilePath | None = None
    kill_switch: FilePath = "runs/actions/stop"
    audit_log: FilePath = "runs/actions/audit.jsonl"
    snapshots: FilePath = "runs/actions/snapshots"
    most_snapshots: Annotated[int, Field(ge=1, le=1000)] = 20
    alerts: Annotated[Mapping[AlertName, ActionName], Field(max_length=200)] = {}
    limits: ActionLimits = ActionLimits()
    stale: Annotated[float, Field(ge=60, le=604_800)] = 14_400.0
    flaps: Annotated[int, Field(ge=2, le=100)] = 4
    flap_window: Seconds = 600.0
    freeze: Seconds = 1800.0
    hold: Seconds = 30.0
    probes: Annotated[int, Field(ge=1, le=20)] = 3
