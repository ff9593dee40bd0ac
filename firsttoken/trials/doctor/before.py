"""The guide's checks before deployment: pure, from facts to findings."""

from __future__ import annotations

from collections.abc import Iterator

from firsttoken.trials.doctor.facts import Facts, RemoteFacts
from firsttoken.trials.doctor.findings import Finding, Item, counted, fail, gib, ok, warn

LEAST_BYTES = 2 * 10**9
ENOUGH_BYTES = 2 << 30
"""The guide's 2 GB: what lies between the two ways of counting is exactly 2, which is a warning."""

LEAST_CORES = 2
MODEL_BYTES = 1_200_000_000
"""Of the guide's model, as the guide has it."""
SPARE_BYTES = 500_000_000
"""For logs, runs and packages where the model is here already."""


def memory(facts: Facts) -> Iterator[Finding]:
    """More than 2 GB that a new process could take; what the engine holds already counts too."""
    free = facts.machine.available
    if free is None:
        yield warn("memory", Item.MEMORY, "the kernel does not tell", "look with: free -h")
        return
    held = facts.engine.memory.unreclaimable if facts.engine and facts.engine.memory else 0
    told = f"{gib(free)} can be taken"
    if held:
        told += f", and the engine that runs holds {gib(held)}"
    told += "; the guide asks for more than 2 GB"
    fix = "stop what is not needed, raise the container's limit, or take a smaller model"
    if free + held < LEAST_BYTES:
        yield fail("memory", Item.MEMORY, told, fix)
    elif free + held <= ENOUGH_BYTES:
        yield warn("memory", Item.MEMORY, told, fix)
    else:
        yield ok("memory", Item.MEMORY, told)


def sizing(facts: Facts) -> Iterator[Finding]:
    """Weights, slots and contexts fit into the limit."""
    found, share = facts.sizing, facts.targets.memory_share
    if found is None:
        if facts.engine is not None:
            yield warn(
                "sizing",
                Item.MEMORY,
                "not computed: neither the model's file nor its metadata can be read",
                "see the table in docs/deploy.md, Sizing",
            )
        return
    need = found.need
    told = (
        f"{counted(found.slots, 'slot')} of {found.context:,} tokens take {gib(need.total)} "
        f"({gib(need.weights)} weights, {gib(need.kv_cache)} KV cache) of {gib(found.limit)}; "
        f"room for {counted(found.fitting, 'slot')} in {share:.0%} of it"
    )
    fix = f"set slots to {found.fitting}" if found.fitting else "take a smaller model or context"
    if need.total > found.limit:
        yield fail("sizing", Item.MEMORY, told, fix)
    elif need.total > share * found.limit:
        yield warn("sizing", Item.MEMORY, told, fix)
    else:
        yield ok("sizing", Item.MEMORY, told)


def cores(facts: Facts) -> Iterator[Finding]:
    """More than 2 cores, quota and affinity regarded."""
    count = facts.machine.cores
    told = f"{count:g} may be used; the guide asks for more than {LEAST_CORES}"
    fix = (
        "give it 3 or more (Compose: cpus), or expect late first tokens with many talkers: "
        "firsttoken bench --target URL --capacity says how many"
    )
    if count < LEAST_CORES:
        yield fail("cores", Item.CORES, told, fix)
    elif count == LEAST_CORES:
        yield warn("cores", Item.CORES, told, fix)
    else:
        yield ok("cores", Item.CORES, told)


def model_file(facts: Facts) -> Iterator[Finding]:
    """The model is here, whole, and the one that was meant."""
    file, engine = facts.model_file, facts.engine
    if file is not None:
        if file.problem or file.header is None:
            yield fail("model file", Item.MODEL_FILE, file.problem, "download the file again")
            return
        told = (
            f"{file.path}: GGUF version {file.header.version}, {file.header.architecture}, "
            f"{file.header.tensors} tensors, {(file.size or 0) / 1e6:,.0f} MB, none missing"
        )
        if file.wanted_sha256 is None:
            yield ok("model file", Item.MODEL_FILE, f"{told}; no SHA-256 to compare with")
        elif file.sha256 == file.wanted_sha256:
            yield ok("model file", Item.MODEL_FILE, f"{told}; SHA-256 as {file.wanted_from} has it")
        else:
            found = f"{file.path}: SHA-256 {file.sha256 or 'could not be computed in time'}, "
            found += f"{file.wanted_from} has {file.wanted_sha256}"
            if file.sha256 is None:
                yield warn("model file", Item.MODEL_FILE, found, "give --timeout more seconds")
            else:
                yield fail("model file", Item.MODEL_FILE, found, "download the file again")
    elif engine is not None and engine.present:
        size = f", {engine.size / 1e6:,.0f} MB" if engine.size else ""
        digest = f", digest {engine.digest[:19]}" if engine.digest else ""
        yield ok("model file", Item.MODEL_FILE, f"{engine.model} at {engine.url}{size}{digest}")
    elif engine is not None:
        yield warn(
            "model file",
            Item.MODEL_FILE,
            f"not seen: {_no_model(facts)}",
            f"ollama pull {engine.model} (0.9 GB), or name a GGUF file in engine.model",
        )
    else:
        yield warn(
            "model file",
            Item.MODEL_FILE,
            "no local model is configured",
            "set llm_routing.local_model: without one no first token comes in 400 ms",
        )


def _no_model(facts: Facts) -> str:
    engine = facts.engine
    if engine is None or not engine.answers:
        return f"no engine answers at {engine.url}" if engine else "no engine"
    return f"{engine.url} does not list {engine.model}"


def disk(facts: Facts) -> Iterator[Finding]:
    """Room for the model, where it has still to come."""
    free, folder = facts.machine.disk_free, facts.machine.folder
    here = facts.model_file is not None or bool(facts.engine and facts.engine.present)
    need = SPARE_BYTES if here else MODEL_BYTES + SPARE_BYTES
    if free is None:
        yield warn("disk", Item.MODEL_FILE, f"{folder} cannot be read", "look with: df -h")
        return
    told = f"{free / 1e9:,.1f} GB free in {folder}; {need / 1e9:.1f} GB wanted"
    if free < need:
        yield fail("disk", Item.MODEL_FILE, told, "make room, or keep models elsewhere")
    elif free < 2 * need:
        yield warn("disk", Item.MODEL_FILE, told, "make room before logs and runs fill it")
    else:
        yield ok("disk", Item.MODEL_FILE, told)


def network(facts: Facts) -> Iterator[Finding]:
    """Each remote backend: its name, its connection, its key."""
    if not facts.remotes:
        yield warn(
            "remote backends",
            Item.NETWORK,
            "none is configured",
            "add one to llm_routing.remote_models: nothing takes over when the engine fails",
        )
    for remote in facts.remotes:
        yield _remote(remote)


_STAGES = {
    "": ("the name {host} was not found", "check DNS: getent hosts {host}"),
    "dns": (
        "no connection to {host}",
        "open the firewall to {host}; the router uses no HTTP proxy",
    ),
    "tcp": (
        "no TLS with {host}",
        "look at its certificate, at this machine's clock and at its list of authorities",
    ),
    "tls": ("{host} gave no answer to a request", "look at what stands between"),
}


def _remote(remote: RemoteFacts) -> Finding:
    name, item = f"remote {remote.name}", Item.NETWORK
    if remote.reached != "http":
        found, fix = (text.format(host=remote.host) for text in _STAGES[remote.reached])
        found += f" ({remote.problem})" if remote.problem else ""
        if not remote.enabled:
            found = f"off: {remote.disabled_reason}; and {found}"
            return warn(name, item, found, f"{_switch_on(remote)}; and {fix}")
        return fail(name, item, found, fix)
    where = f"{remote.host} answers"
    if not remote.enabled:
        return warn(name, item, f"off: {remote.disabled_reason}; {where}", _switch_on(remote))
    key = f", key {remote.key}" if remote.key else ", no key wanted"
    if remote.status in {401, 403}:
        return fail(
            name,
            item,
            f"{remote.host} refuses the key (HTTP {remote.status}{key})",
            "put a valid key there; it is not shown here",
        )
    if remote.status is None or remote.status >= 500 or remote.status == 429:
        return warn(name, item, f"{where} with HTTP {remote.status}{key}", "ask again later")
    if remote.key and remote.status >= 300:
        key += "; whether it takes the key was not seen"
    return ok(name, item, f"{where} (HTTP {remote.status}{key})")


def _switch_on(remote: RemoteFacts) -> str:
    if not remote.unset_key:
        return "set llm_routing.hybrid_mode: true"
    return f"put its key into {remote.unset_key}"


CHECKS = (memory, sizing, cores, model_file, disk, network)
