"""What the checks are told: facts, and no way to get at more of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from firsttoken.core.host import Memory
from firsttoken.core.settings import Settings
from firsttoken.core.slo import Slo
from firsttoken.engines.gguf import Header
from firsttoken.engines.memory import MemoryNeed
from firsttoken.trials.doctor.findings import Checklist
from firsttoken.trials.status_snapshot import Samples, Snapshot


@dataclass(frozen=True, slots=True)
class Package:
    """A Python package that this one needs."""

    name: str
    wanted: str
    """The lowest version that will do; empty: any."""
    found: str | None
    """The version that is installed."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port that the settings want to listen on."""

    key: str
    """Of the settings."""
    number: int
    state: Literal["free", "ours", "taken", "forbidden"]
    by: str = ""
    """Who holds it, where that may be known."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that the doctor runs on. Memory and disk in bytes; None: the kernel does not
    tell."""

    available: int | None
    """What a new process could take, the limit of the control group regarded."""
    cores: float
    """Affinity and quota regarded."""
    folder: str
    """Where models lie, or would."""
    disk_free: int | None
    packages: tuple[Package, ...] = ()
    programs: tuple[str, ...] = ()
    """Engines that are installed, with their versions where known."""
    ports: tuple[Port, ...] = ()
    load: float = 0.0
    """Programs that wanted a core, mean of the last minute, before the doctor asked anything."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A GGUF file on this machine."""

    path: str
    size: int | None = None
    header: Header | None = None
    problem: str = ""
    """Why it cannot be used, in one line."""
    sha256: str | None = None
    """Computed, where there was something to compare it with."""
    wanted_sha256: str | None = None
    wanted_from: str = ""
    """Who said so."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One short question and what became of it."""

    first_token_ms: float | None = None
    total_ms: float | None = None
    tier: str = ""
    backend: str = ""
    attempts: int = 0
    problem: str = ""

    @property
    def answered(self) -> bool:
        """Whether a token came and the reply ended well."""
        return self.first_token_ms is not None and not self.problem


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """The local engine, as it tells itself."""

    url: str
    model: str
    """Asked for."""
    embedded: bool = False
    """Whether a router of ours started it."""
    answers: bool = False
    problem: str = ""
    """Why it does not answer."""
    kind: str | None = None
    """``ollama``, ``llama_cpp``, ``vllm``; None: another one."""
    models: tuple[str, ...] = ()
    present: bool | None = None
    """Whether it has the model; None: it does not tell."""
    loaded: bool | None = None
    digest: str | None = None
    size: int | None = None
    """Of the model, bytes."""
    slots: int | None = None
    context: int | None = None
    """Tokens of one slot."""
    header: Header | None = None
    """Of its model, where it tells."""
    model_path: str | None = None
    memory: Memory | None = None
    token: Asked | None = None
    """The test question, which also warms it."""
    direct: tuple[Asked, ...] = ()
    """The questions that were timed."""


@dataclass(frozen=True, slots=True)
class RemoteFacts:
    """One remote backend, asked for its models: no token is paid for."""

    name: str
    host: str
    enabled: bool
    disabled_reason: str
    key: str
    """``set (from NAME)``, ``not set (NAME)``, or empty where none is wanted. Never the key."""
    reached: Literal["", "dns", "tcp", "tls", "http"] = ""
    """The last stage that went well: the name was found, the connection made, TLS agreed on (or not
    wanted), an HTTP answer came."""
    status: int | None = None
    problem: str = ""

    @property
    def unset_key(self) -> str:
        """The variable or file whose key is not set; empty where it is, or none is wanted."""
        name = self.key.removeprefix("not set (")
        return name.removesuffix(")") if name != self.key else ""


@dataclass(frozen=True, slots=True)
class RouterFacts:
    """The router that runs."""

    url: str
    running: bool = False
    problem: str = ""
    foreign: bool = False
    """Whether something answers that is no router of ours, or refuses the key."""
    snapshot: Snapshot | None = None
    """After the doctor's questions."""
    before: Samples | None = None
    after: Samples | None = None
    asked: tuple[Asked, ...] = ()
    """Questions to its local backend."""


@dataclass(frozen=True, slots=True)
class FailoverFacts:
    """The attempt to fail over, on a private router whose local engine is dead."""

    asked: Asked | None = None
    why_not: str = ""
    """Why it could not be tried."""
    fix: str = ""
    """What would let it be tried."""


@dataclass(frozen=True, slots=True)
class PrometheusFacts:
    """What a Prometheus says of our rules and targets."""

    url: str
    problem: str = ""
    rules: frozenset[str] = frozenset()
    """Names of its recording rules."""
    alerts: frozenset[str] = frozenset()
    up: Mapping[str, bool] = field(default_factory=dict)
    """By job."""
    alertmanagers: int = 0


@dataclass(frozen=True, slots=True)
class SettingsFacts:
    """The settings, or why there are none."""

    names: tuple[str, ...]
    settings: Settings | None = None
    problems: tuple[str, ...] = ()
    """A line each: file, line, key, what was expected."""
    routes: Mapping[str, str] = field(default_factory=dict)
    """By question the tier that would be asked first, with every backend up."""


@dataclass(frozen=True, slots=True)
class Sizing:
    """What the engine will take of memory, computed."""

    need: MemoryNeed
    slots: int
    context: int
    limit: int
    """Bytes."""
    fitting: int
    """Slots that would fit into the targeted share of it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything."""

    lists: frozenset[Checklist]
    demanded: bool
    """Whether the list after deployment, or the router, was named: what does not run then fails."""
    targets: Slo
    settings: SettingsFacts
    machine: Machine
    model_file: ModelFile | None = None
    engine: EngineFacts | None = None
    remotes: tuple[RemoteFacts, ...] = ()
    router: RouterFacts | None = None
    failover: FailoverFacts | None = None
    prometheus: PrometheusFacts | None = None
    sizing: Sizing | None = None
