"""The guide's seven deployment steps, each looked at: pure, from facts to findings."""

from __future__ import annotations

from collections.abc import Iterator

from firsttoken.trials.doctor.facts import Facts
from firsttoken.trials.doctor.findings import Finding, Item, counted, fail, ms, ok, warn
from firsttoken.trials.doctor.sources import GUIDE_METRICS

KINDS = {"ollama": "Ollama", "llama_cpp": "llama.cpp", "vllm": "vLLM"}
_START = "start it: ollama serve, or firsttoken serve --engine"
_NO_LOCAL = ("no local model is configured", "set llm_routing.local_model")


def install(facts: Facts) -> Iterator[Finding]:
    """1: an engine is installed here, or answers from elsewhere."""
    engine, programs = facts.engine, facts.machine.programs
    if engine is not None and engine.answers:
        kind = KINDS.get(engine.kind or "", "an engine of another kind")
        yield ok("engine", Item.INSTALL, f"{kind} answers at {engine.url}")
    elif programs:
        yield ok("engine", Item.INSTALL, f"installed: {', '.join(programs)}")
    else:
        yield fail(
            "engine",
            Item.INSTALL,
            "neither Ollama nor vLLM nor llama.cpp (xllamacpp) is installed",
            "install one: docs/deploy.md",
        )


def pull(facts: Facts) -> Iterator[Finding]:
    """2: the engine has the configured model, and it is the guide's."""
    engine = facts.engine
    if engine is None:
        yield warn("model", Item.PULL, *_NO_LOCAL)
    elif not engine.answers:
        yield warn("model", Item.PULL, f"not asked: no engine answers at {engine.url}", _START)
    elif engine.present is False:
        listed = ", ".join(engine.models[:5]) or "none"
        get = f"ollama pull {engine.model}" if engine.kind == "ollama" else "start it with it"
        yield fail(
            "model",
            Item.PULL,
            f"{engine.url} has no {engine.model}; it lists: {listed}",
            f"{get}, or name one of these in llm_routing.local_model.model",
        )
    elif "qwen2" not in engine.model.lower():
        yield warn(
            "model",
            Item.PULL,
            f"{engine.model}: it works, but it is not the guide's Qwen2-1.5B",
            "for its answers: Ollama with qwen2:1.5b-instruct-q4_0, or its GGUF in engine.model",
        )
    else:
        loaded = ", in memory" if engine.loaded else ""
        yield ok("model", Item.PULL, f"{engine.model} is there{loaded}")


def start(facts: Facts) -> Iterator[Finding]:
    """3: the engine answers, with slots for the talkers."""
    engine = facts.engine
    if engine is None:
        yield warn("local service", Item.START, *_NO_LOCAL)
        return
    if not engine.answers:
        found = f"nothing answers at {engine.url} ({engine.problem})"
        yield fail("local service", Item.START, found, f"{_START}; LOCAL_LLM_ENDPOINT moves it")
        return
    kind = KINDS.get(engine.kind or "", "an engine")
    yield ok(
        "local service",
        Item.START,
        f"{kind} at {engine.url} lists {counted(len(engine.models), 'model')}",
    )
    talkers = facts.targets.concurrent_talkers
    if engine.slots is None:
        yield warn(
            "slots",
            Item.START,
            "the engine does not report how many answers it makes at once",
            "set OLLAMA_NUM_PARALLEL (its default of 1 makes talkers queue) and the same number in "
            "llm_routing.local_model.slots",
        )
    elif engine.slots < talkers:
        yield warn(
            "slots",
            Item.START,
            f"{engine.slots} answers at once; of {talkers} talkers the others wait",
            f"raise slots to {talkers}, as far as memory holds them (sizing)",
        )
    else:
        yield ok("slots", Item.START, f"{engine.slots} answers at once, for {talkers} talkers")


def routing(facts: Facts) -> Iterator[Finding]:
    """4: the settings send simple questions to the local model and complex ones to the cloud."""
    found = facts.settings.settings
    if found is None:
        return
    routes = facts.settings.routes
    told = ", ".join(f"{question} -> {tier}" for question, tier in routes.items())
    local = facts.engine is not None
    remotes = [each.name for each in facts.remotes if each.enabled]
    if not found.hybrid_mode:
        yield warn(
            "hybrid routing",
            Item.ROUTING,
            "llm_routing.hybrid_mode is off: every request stays local",
            "set it to true (LLM_HYBRID_MODE=true)",
        )
    elif not local or not remotes:
        missing = "local model" if not local else "remote backend with a key"
        yield warn(
            "hybrid routing",
            Item.ROUTING,
            f"no {missing}, so there is nothing to route between; {told}",
            "put a key into the variable of a remote backend (failover rules)"
            if local
            else "set llm_routing.local_model",
        )
    elif set(routes.values()) == {"local", "remote"}:
        yield ok("hybrid routing", Item.ROUTING, told)
    else:
        yield warn(
            "hybrid routing",
            Item.ROUTING,
            f"one tier takes all: {told}",
            "look at routing_logic: firsttoken route TEXT says why",
        )


def router(facts: Facts) -> Iterator[Finding]:
    """4: the router runs with them."""
    found = facts.router
    if found is None:
        return
    if found.running and found.snapshot is not None and found.snapshot.ready:
        backends = ", ".join(
            f"{each.name} {'up' if each.up else 'down'}" for each in found.snapshot.backends
        )
        mode = found.snapshot.mode
        yield ok("router", Item.ROUTING, f"{found.url}, mode {mode}: {backends}")
    elif found.running:
        why = found.problem or "no backend can serve"
        yield fail("router", Item.ROUTING, f"{found.url} is not ready: {why}", _START)
    else:
        yield not_running(facts, "router", Item.ROUTING)


def not_running(facts: Facts, name: str, item: Item) -> Finding:
    """Return that no router runs: a failure where one was asked for."""
    found = facts.router
    url = found.url if found is not None else ""
    if found is not None and found.foreign:
        return fail(name, item, found.problem, "name the router with --target")
    files = facts.settings.names
    config = "".join(f" --config {each}" for each in files)
    make = fail if facts.demanded else warn
    found_text = f"not running: nothing answers at {url}"
    return make(name, item, found_text, f"start it: firsttoken serve{config} (--engine with it)")


def test(facts: Facts) -> Iterator[Finding]:
    """5: the local model makes a token."""
    engine = facts.engine
    if engine is None:
        yield warn("test question", Item.TEST, *_NO_LOCAL)
    elif engine.token is None:
        if engine.answers:
            found, fix = f"not asked: {engine.url} has no {engine.model}", "see step 2"
        else:
            found, fix = f"not asked: no engine answers at {engine.url}", _START
        yield warn("test question", Item.TEST, found, fix)
    elif engine.token.answered:
        first, total = engine.token.first_token_ms or 0.0, engine.token.total_ms or 0.0
        yield ok(
            "test question",
            Item.TEST,
            f"{engine.model} answered: first token {ms(first)}, whole reply {ms(total)}, once, "
            "not warmed",
        )
    else:
        yield fail(
            "test question",
            Item.TEST,
            f"{engine.model} at {engine.url} gave no token: {engine.token.problem}",
            "look at the engine's log; a model that loads takes its time (--timeout)",
        )


def failover(facts: Facts) -> Iterator[Finding]:
    """6: somebody can take over, and the router knows when."""
    found = facts.settings.settings
    if found is None:
        return
    remotes = [each.name for each in facts.remotes if each.enabled]
    rules = {each.condition for each in found.health_check.fallback_strategy}
    probe = found.health_check.local_model
    times = f"probe every {probe.interval:g} s, {probe.retries} failures"
    if not found.hybrid_mode or not remotes:
        why = "hybrid mode is off" if not found.hybrid_mode else "no remote backend has its key"
        keys = ", ".join(each.unset_key for each in facts.remotes if each.unset_key)
        yield warn(
            "failover rules",
            Item.FAILOVER,
            f"{why}: when the engine fails, users get errors",
            f"put a key into one of {keys}"
            if keys and found.hybrid_mode
            else "configure a remote backend",
        )
    elif "local_model_unhealthy" not in rules:
        yield warn(
            "failover rules",
            Item.FAILOVER,
            f"to {', '.join(remotes)}, request by request alone ({times})",
            "add local_model_unhealthy to health_check.fallback_strategy",
        )
    else:
        yield ok(
            "failover rules",
            Item.FAILOVER,
            f"to {', '.join(remotes)}; {times}; {len(rules)} rules",
        )


def monitoring(facts: Facts) -> Iterator[Finding]:
    """7: metrics are exposed, and somebody reads them."""
    router_, told = facts.router, facts.prometheus
    exposed = router_ is not None and router_.after is not None
    if told is None:
        where = f"{router_.url}/metrics answers" if exposed and router_ else "no metrics are read"
        yield warn(
            "monitoring",
            Item.MONITORING,
            f"{where}; no Prometheus was named",
            "give --prometheus URL; docs/deploy.md, Monitoring, says how to run one",
        )
        return
    if told.problem:
        fix = "start it, or name another one with --prometheus"
        yield fail("monitoring", Item.MONITORING, f"{told.url}: {told.problem}", fix)
        return
    missing = [name for name in GUIDE_METRICS if name not in told.rules]
    ours = [job for job in told.up if job.startswith("firsttoken")]
    down = [job for job in ours if not told.up[job]]
    if missing:
        found, fix = f"no rules for {', '.join(missing)}", "load dashboards/generated/recording.yml"
    elif not ours:
        found, fix = "it scrapes no firsttoken job", "see dashboards/generated/prometheus.yml"
    elif down:
        found, fix = f"cannot scrape {', '.join(down)}", "look at its page /targets"
    else:
        rules = f"all {len(GUIDE_METRICS)} rules of the guide, {len(told.alerts)} alerts"
        yield ok("monitoring", Item.MONITORING, f"{told.url}: {', '.join(ours)} up; {rules}")
        if not told.alertmanagers:
            fix = "see docs/alerts.md: without one nobody is told"
            yield warn("alerts", Item.MONITORING, f"{told.url} knows no Alertmanager", fix)
        return
    yield fail("monitoring", Item.MONITORING, f"{told.url}: {found}", fix)


CHECKS = (install, pull, start, routing, router, test, failover, monitoring)
