"""The checks, from facts to findings: one table, one row for each way in which something can be."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from firsttoken.core.host import Memory
from firsttoken.trials.doctor import page
from firsttoken.trials.doctor.examine import examine
from firsttoken.trials.doctor.facts import (
    Asked,
    FailoverFacts,
    Package,
    Port,
    RouterFacts,
    SettingsFacts,
)
from firsttoken.trials.doctor.findings import GUIDE, Checklist, Item, Level, warn, without
from firsttoken.trials.doctor.sources import GUIDE_METRICS
from firsttoken.trials.status_snapshot import Samples
from tests.trials.doctor.cases import (
    ENGINE,
    GIB,
    URL,
    asked,
    engine,
    facts,
    machine,
    model_file,
    prometheus,
    remote,
    router,
    samples,
    settings,
    sizing,
)

OK, WARN, FAIL = Level.OK, Level.WARN, Level.FAIL
DEAD = engine(answers=False, problem="refused", present=None, token=None, direct=(), memory=None)
ABSENT = RouterFacts(URL)
HYBRID_OFF = {
    "llm_routing": {"local_model": {"endpoint": ENGINE}, "hybrid_mode": False},
}
NO_KEY = remote(
    enabled=False, disabled_reason="CLOUD_KEY is not set", key="not set (CLOUD_KEY)", status=401
)


def test_a_good_deployment_is_ok_throughout_and_every_item_of_the_guide_is_checked() -> None:
    found = examine(facts())
    assert [each for each in found if each.level is not OK] == []
    assert {each.item for each in found} == set(Item)
    assert len([item for item in GUIDE if item.number]) == 4 + 7 + 5
    assert page.exit_code(found) == 0


ROWS: list[tuple[str, Level, str, dict[str, Any]]] = [
    # Memory and cores: exactly 2 is a warning.
    ("memory", FAIL, "1.40 GiB", {"machine": machine(available=int(1.4 * GIB)), "engine": DEAD}),
    ("memory", WARN, "2.00 GiB", {"machine": machine(available=2 * GIB), "engine": DEAD}),
    ("memory", WARN, "1.86 GiB", {"machine": machine(available=2 * 10**9), "engine": DEAD}),
    ("memory", OK, "more than 2", {"machine": machine(available=2 * GIB + 1), "engine": DEAD}),
    ("memory", OK, "engine that runs", {"machine": machine(available=int(1.4 * GIB))}),
    ("memory", WARN, "does not tell", {"machine": machine(available=None)}),
    ("cores", FAIL, "1.5 may", {"machine": machine(cores=1.5)}),
    ("cores", WARN, "2 may", {"machine": machine(cores=2.0)}),
    ("cores", OK, "2.5 may", {"machine": machine(cores=2.5)}),
    # What the engine will take.
    ("sizing", OK, "room for 7 slots in 80% of it", {"sizing": sizing(8 * GIB, 10 * GIB)}),
    ("sizing", WARN, "of 9.90 GiB", {"sizing": sizing(8 * GIB, int(9.9 * GIB))}),
    ("sizing", FAIL, "8.00 GiB", {"sizing": sizing(8 * GIB, 7 * GIB)}),
    ("sizing", WARN, "not computed", {"sizing": None}),
    # The model's file.
    ("model file", OK, "338 tensors", {"model_file": model_file()}),
    (
        *("model file", FAIL, "it is cut"),
        {"model_file": model_file(header=None, problem="a.gguf: it is cut: 5 bytes")},
    ),
    (
        *("model file", OK, "SHA-256 as --model-sha256 has it"),
        {"model_file": model_file(sha256="aa", wanted_sha256="aa", wanted_from="--model-sha256")},
    ),
    (
        *("model file", FAIL, "SHA-256 bb, the package x has aa"),
        {"model_file": model_file(sha256="bb", wanted_sha256="aa", wanted_from="the package x")},
    ),
    (
        *("model file", WARN, "in time"),
        {"model_file": model_file(wanted_sha256="aa", wanted_from="--model-sha256")},
    ),
    ("model file", OK, "934 MB, digest sha256:0123456789ab", {}),
    ("model file", WARN, "does not list", {"engine": engine(present=False)}),
    ("model file", WARN, "no engine answers", {"engine": DEAD}),
    ("model file", WARN, "no local model", {"engine": None}),
    ("disk", FAIL, "0.3 GB free", {"machine": machine(disk_free=3 * 10**8)}),
    ("disk", WARN, "0.5 GB wanted", {"machine": machine(disk_free=7 * 10**8)}),
    ("disk", FAIL, "1.7 GB wanted", {"machine": machine(disk_free=10**9), "engine": DEAD}),
    # The network and the keys.
    ("remote cloud", OK, "HTTP 200, key set (from CLOUD_KEY)", {}),
    ("remote cloud", FAIL, "refuses the key", {"remotes": (remote(status=401),)}),
    (
        *("remote cloud", OK, "whether it takes the key was not seen"),
        {"remotes": (remote(status=404),)},
    ),
    ("remote cloud", OK, "HTTP 404, no key wanted)", {"remotes": (remote(status=404, key=""),)}),
    ("remote cloud", FAIL, "no TLS", {"remotes": (remote(reached="tcp", status=None),)}),
    ("remote cloud", WARN, "HTTP 503", {"remotes": (remote(status=503),)}),
    ("remote cloud", FAIL, "was not found", {"remotes": (remote(reached="", status=None),)}),
    ("remote cloud", FAIL, "no connection", {"remotes": (remote(reached="dns", status=None),)}),
    ("remote cloud", FAIL, "gave no answer", {"remotes": (remote(reached="tls", status=None),)}),
    ("remote cloud", WARN, "off: CLOUD_KEY is not set; cloud", {"remotes": (NO_KEY,)}),
    ("remote backends", WARN, "none is configured", {"remotes": ()}),
    # Ours.
    (
        *("packages", FAIL, "rich is missing, httpx 0.27.2 < 0.28"),
        {
            "machine": machine(
                packages=(Package("rich", "14", None), Package("httpx", "0.28", "0.27.2"))
            )
        },
    ),
    (
        *("port 8080", FAIL, "held by nginx"),
        {"machine": machine(ports=(Port("server.port", 8080, "taken", "nginx, process 3"),))},
    ),
    (
        *("port 80", FAIL, "this user may not listen there"),
        {"machine": machine(ports=(Port("server.port", 80, "forbidden"),))},
    ),
    ("packages", WARN, "was not installed", {"machine": machine(packages=())}),
    ("context", WARN, "2,048 tokens a slot (the engine says)", {"engine": engine(context=2048)}),
    ("context", WARN, "2,048 tokens a slot;", {"settings": settings(local_optimization={})}),
    ("settings", WARN, "anyone", {"settings": settings(server={"host": "0.0.0.0"})}),  # noqa: S104
    # The steps.
    ("engine", FAIL, "neither", {"engine": DEAD, "machine": machine(programs=())}),
    ("engine", OK, "installed: Ollama", {"engine": DEAD}),
    ("model", FAIL, "it lists: other", {"engine": engine(present=False, models=("other",))}),
    ("model", WARN, "not the guide's", {"engine": replace(engine(), model="SmolLM2-135M")}),
    ("local service", FAIL, "nothing answers at http://127.0.0.1:11434", {"engine": DEAD}),
    ("slots", WARN, "does not report", {"engine": engine(slots=None)}),
    ("slots", WARN, "4 answers at once; of 20", {"engine": engine(slots=4)}),
    ("hybrid routing", WARN, "hybrid_mode is off", {"settings": settings(**HYBRID_OFF)}),
    ("hybrid routing", WARN, "no remote backend with a key", {"remotes": (NO_KEY,)}),
    (
        *("hybrid routing", WARN, "one tier takes all"),
        {"settings": replace(settings(), routes={"你好": "local", "帮我写代码": "local"})},
    ),
    ("router", WARN, "not running", {"router": ABSENT}),
    ("router", FAIL, "not running", {"router": ABSENT, "demanded": True}),
    ("router", FAIL, "is not ready", {"router": router(ready=False)}),
    ("router", FAIL, "no fire", {"router": RouterFacts(URL, foreign=True, problem="no fire")}),
    (
        *("test question", FAIL, "gave no token: HTTP 500"),
        {"engine": engine(token=Asked(problem="HTTP 500"))},
    ),
    ("test question", WARN, "no engine answers", {"engine": DEAD}),
    (
        *("test question", WARN, "has no qwen2"),
        {"engine": engine(present=False, token=None)},
    ),
    ("test question", OK, "first token 300 ms, whole reply 400 ms", {}),
    ("failover rules", WARN, "no remote backend has its key", {"remotes": (NO_KEY,)}),
    ("failover rules", WARN, "request by request", {"settings": settings(health_check={})}),
    ("monitoring", WARN, "no Prometheus was named", {"prometheus": None}),
    ("monitoring", FAIL, "no answer", {"prometheus": prometheus(problem="no answer")}),
    (
        *("monitoring", FAIL, "no rules for local_model_response_time"),
        {"prometheus": prometheus(rules=frozenset())},
    ),
    ("monitoring", FAIL, "no firsttoken job", {"prometheus": prometheus(up={"node": True})}),
    (
        *("monitoring", FAIL, "cannot scrape firsttoken-router"),
        {"prometheus": prometheus(up={"firsttoken-router": False})},
    ),
    (
        *("monitoring", OK, "firsttoken-router up"),
        {"prometheus": prometheus(up={"firsttoken-router": True, "of another": False})},
    ),
    ("alerts", WARN, "knows no Alertmanager", {"prometheus": prometheus(alertmanagers=0)}),
    # After.
    ("through the router", OK, "5 questions: median 230 ms, slowest 250 ms", {}),
    (
        *("through the router", WARN, "slowest 400 ms"),
        {"router": router(asked=(asked(200), asked(210), asked(400)))},
    ),
    (
        *("through the router", FAIL, "median 400 ms"),
        {"router": router(asked=(asked(200), asked(400), asked(900)))},
    ),
    (
        *("through the router", WARN, "1 not answered by the local model"),
        {"router": router(asked=(asked(200), asked(210), asked(1800, "remote")))},
    ),
    (
        *("through the router", FAIL, "answered none: remote answered for it"),
        {"router": router(asked=(asked(1800, "remote"), asked(1900, "remote")))},
    ),
    ("through the router", WARN, "no time was left", {"router": router(asked=())}),
    ("engine itself", FAIL, "median 500 ms", {"engine": engine(direct=(asked(500, ""),))}),
    ("short replies", WARN, "median 700 ms", {"router": router(asked=(asked(600),))}),
    ("response", FAIL, "not running", {"router": ABSENT, "demanded": True}),
    ("memory in use", OK, "50%", {}),
    ("memory in use", FAIL, "80%", {"router": router(used=int(1.6 * GIB) + 1)}),
    (
        *("memory in use", WARN, "not known"),
        {"router": router(snapshot=None), "engine": engine(memory=None)},
    ),
    (
        *("memory in use", FAIL, "90%"),
        {"router": router(snapshot=None), "engine": engine(memory=Memory(9, 0, 10))},
    ),
    ("errors", OK, "0 of 200", {}),
    ("errors", OK, "149 without one would prove it", {"router": router(good=148)}),
    ("errors", FAIL, "2 of 100 requests failed", {"router": router(good=98, bad=2)}),
    ("errors", OK, "too few requests to prove it", {"router": router(good=99, bad=1)}),
    ("errors", OK, "target < 2%", {"router": router(good=1999, bad=1)}),
    ("errors", WARN, "no requests", {"router": router(good=0)}),
    ("failover", OK, "answered from remote, first token 1,800 ms", {}),
    (
        *("failover", WARN, "cannot be tried: no remote backend is on"),
        {"failover": FailoverFacts(why_not="no remote backend is on", fix="set its key")},
    ),
    (
        *("failover", FAIL, "HTTP 503"),
        {"failover": FailoverFacts(Asked(problem="HTTP 503: nobody", tier="none"))},
    ),
    ("failover", FAIL, "the tier local", {"failover": FailoverFacts(asked(9.0))}),
    ("metrics", OK, "9 of the guide's 9", {}),
    (
        *("metrics", FAIL, "first_response_time: llm_time_to_first_token_seconds_count stands"),
        {"router": router(after=samples(3))},
    ),
    (
        *("metrics", WARN, "whether they move was not seen"),
        {"router": router(after=samples(3), asked=(asked(1800, "remote"),))},
    ),
    (
        *("metrics", FAIL, "0 of the guide's 9"),
        {"router": router(after=Samples('llm_mode{mode="normal"} 1\n'))},
    ),
    ("metrics", FAIL, "cannot be read", {"router": router(after=None, problem="gone")}),
]


@pytest.mark.parametrize(
    ("name", "level", "text", "changes"), ROWS, ids=[f"{row[0]}-{row[1]}" for row in ROWS]
)
def test_what_is_found(name: str, level: Level, text: str, changes: dict[str, Any]) -> None:
    found = [each for each in examine(facts(**changes)) if each.name == name]
    assert any(each.level is level and text in each.found for each in found), found
    assert all(each.fix for each in found if each.level is not OK)


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"


def test_an_engine_elsewhere_is_a_warning_about_the_machines_metrics() -> None:
    lines = [
        f"{source.name}{_labels(labels)} {value}"
        for sources in GUIDE_METRICS.values()
        for source in sources
        if not source.name.startswith(("llm_memory", "llm_process_cpu", "llm_cpu"))
        for labels, value in samples(8).of(source.name)
    ]
    text = "\n".join(dict.fromkeys(lines))
    found = examine(facts(router=router(after=Samples(f"{text}\n"))))
    (metrics,) = [each for each in found if each.name == "metrics"]
    assert metrics.level is WARN
    assert "7 of the guide's 9" in metrics.found
    assert "exporter" in metrics.fix


def test_a_busy_machine_is_named_as_the_reason() -> None:
    slow = router(asked=(asked(900),))
    found = examine(facts(router=slow, machine=machine(load=7.5)))
    (judged,) = [each for each in found if each.name == "through the router"]
    assert judged.fix == "other programs wanted 7.5 of 4 cores: run it again when they rest"


def test_settings_that_cannot_be_read_are_one_failure_and_the_machine_is_checked_still() -> None:
    broken = SettingsFacts(("my.yaml",), None, ("my.yaml:3: server.port: is too large",))
    found = examine(facts(settings=broken, engine=None, router=None))
    assert [(each.name, each.level) for each in found if each.level is FAIL] == [("settings", FAIL)]
    assert {"memory", "cores", "packages", "not checked"} <= {each.name for each in found}


@pytest.mark.parametrize("only", list(Checklist))
def test_only_the_lists_that_were_asked_for(only: Checklist) -> None:
    found = examine(facts(lists=frozenset({only})))
    assert {each.item.checklist for each in found} == {only}


def test_the_page_has_the_guides_numbers_words_and_fixes() -> None:
    bad = facts(machine=machine(cores=2.0), engine=DEAD, router=ABSENT)
    found = examine(bad)
    lines = list(page.lines(bad, found, 1.25))
    assert lines[0] == f"settings my.yaml   router {URL}"
    assert [line for line in lines if line and not line.startswith(" ")][1:4] == [
        *("Before deployment", "Deployment steps", "After deployment"),
    ]
    at = next(n for n, line in enumerate(lines) if line.startswith("  WARN  2  cores"))
    assert lines[at + 1].strip().startswith("fix: give it 3")
    assert max(map(len, lines)) <= page.WIDTH
    assert lines[-1].endswith("FAIL   in 1.2 s")
    assert page.exit_code(found) == 1


def test_the_json_has_the_same_findings() -> None:
    bad = facts(machine=machine(cores=2.0))
    found = examine(bad)
    told = json.loads(page.as_json(bad, found, 1.25))
    assert told["level"] == "WARN"
    assert told["exit_code"] == 0
    assert told["counts"] == {"OK": len(found) - 1, "WARN": 1, "FAIL": 0}
    (cores,) = [each for each in told["findings"] if each["name"] == "cores"]
    assert cores["guide"] == "确认可用CPU > 2核"
    assert (cores["checklist"], cores["number"], cores["level"]) == ("before", 2, "WARN")


def test_no_part_of_a_secret_is_left_of_what_a_server_says() -> None:
    short, long = "sk-abc", "sk-abcdef"
    said = warn("x", Item.TEST, f"{short} and {long}; " + "y" * 990 + long, "")
    found = without({short, long}, said)
    assert found.found.startswith("*** and ***; ")
    assert len(found.found) == 1_000
    assert "sk-" not in found.found


def test_what_a_server_says_cannot_command_the_terminal() -> None:
    evil = engine(present=False, models=("\x1b[2Jgone",))
    shown = "\n".join(page.lines(facts(), examine(facts(engine=evil)), 0.0))
    assert "\x1b" not in shown
    assert "?[2Jgone" in shown
