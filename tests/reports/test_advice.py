"""Each advice appears when its cause is in the data, and not otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from firsttoken.core import settings as settings_room
from firsttoken.core import slo as slo_room
from firsttoken.core.errors import UserError
from firsttoken.core.settings import Settings
from reports.advice import Advice, advise, cloud, guide
from reports.advice.advise import ADVISERS, of_facts
from reports.advice.facts import Facts, overlap
from reports.advice.model import Effect
from reports.phases import PHASES
from reports.statistics import Estimate
from tests.reports import runs
from tests.reports.runs import Block, lognormal

SETTINGS = settings_room.load(None, environ={})
SLO = slo_room.load(None, SETTINGS)


def drawn(median_ms: float, n: int = 200, seed: int = 1) -> np.ndarray:
    return np.array([value for value in lognormal(median_ms, n, seed=seed) if value is not None])


def calm(**changes: object) -> Facts:
    """Return a run in which nothing is wrong, with ``changes``."""
    local = drawn(200)
    phases = {name: np.zeros(200) for name in PHASES}
    phases |= {"prefill": np.full(200, 60.0), "wait": np.full(200, 30.0)}
    facts = Facts(
        arm="hybrid",
        users=20,
        n=200,
        target_ms=400.0,
        ttft_p50_ms=Estimate(200.0, 190.0, 210.0, 200),
        ttft_p95_ms=Estimate(280.0, 270.0, 300.0, 200),
        error_rate=Estimate(0.0, 0.0, 0.02, 200),
        error_target=0.02,
        delays=local,
        local=local,
        remote=drawn(2000, 60, seed=2),
        remote_share=0.0,
        complex_share=0.0,
        phases=phases,
        engine_told=True,
        routed=True,
        tpot_ms=40.0,
        in_flight=20.0,
        answering=19.0,
        prompt_tokens=np.full(200, 300.0),
        whole_tokens=np.full(200, 330.0),
        cached_share=0.9,
        cached_n=200,
        hedged=0,
        cores=4.0,
        engine_cores=3.5,
        host_cores=3.7,
        generator_cores=0.1,
        memory=Estimate(0.4, 0.4, 0.4, 60),
    )
    return replace(facts, **changes)  # type: ignore[arg-type]


def phases(**changes: float) -> dict[str, np.ndarray]:
    return {**calm().phases, **{name: np.full(200, value) for name, value in changes.items()}}


CAUSES: dict[str, Facts] = {
    "slots": calm(
        phases=phases(wait=4000.0), answering=4.0, local=drawn(4200),
        ttft_p95_ms=Estimate(5400.0, 5000.0, 5600.0, 200),
    ),
    "queue": calm(phases=phases(queue=200.0)),
    "threads": calm(cores=8.0, engine_cores=2.0),
    "loading": calm(loads_ms=np.full(15, 1800.0)),
    "context": calm(overflowed=12, errors={"context_overflow": 12}),
    "prefix": calm(phases=phases(prefill=150.0), cached_share=0.1),
    "cache": calm(exact=np.full(30, 2.0), semantic=np.full(5, 4.0)),
    "hedging": calm(local=drawn(3000), remote=drawn(300, 60)),
    "complex": calm(
        complex_share=0.2, remote_share=0.2, ttft_p95_ms=Estimate(2600.0, 2500.0, 2700.0, 200)
    ),
    "generator": calm(host_cores=3.9, generator_cores=0.8),
    "memory": calm(memory=Estimate(0.93, 0.93, 0.93, 60)),
}  # fmt: skip


def helping(facts: Facts) -> dict[str, Advice]:
    found = of_facts(facts, SETTINGS)
    return {item.key: item for item in found if item.effect is Effect.HELPS}


def test_a_calm_run_asks_for_nothing() -> None:
    assert helping(calm()) == {}


@pytest.mark.parametrize("key", CAUSES)
def test_its_cause_brings_an_advice(key: str) -> None:
    found = helping(CAUSES[key])
    assert key in found
    assert any(figure.n for figure in found[key].evidence)


def test_every_adviser_is_tried() -> None:
    assert len(CAUSES) == len(ADVISERS)


EVERYTHING = [*CAUSES.values(), calm(), calm(errors={"first_token_timeout": 9, "http_5xx": 8})]


@pytest.mark.parametrize("facts", EVERYTHING)
def test_every_line_loads(facts: Facts) -> None:
    for item in (*of_facts(facts, SETTINGS), *guide.guide(facts, SETTINGS)):
        for line in item.lines:
            loaded = settings_room.load(None, environ={}, overrides={line.path: line.value})
            assert "command line" in loaded.source_of(line.path)


def test_slots_are_as_many_as_requests_in_flight() -> None:
    item = helping(CAUSES["slots"])["slots"]
    assert {str(line) for line in item.lines} == {
        "engine.slots: 20",
        "llm_routing.local_model.slots: 20",
    }
    # 5400 ms less two steps of 40 ms x 20/4, less 60 ms of prefill.
    assert item.gain.ttft_p95_ms == pytest.approx(5400 - 2 * 200 - 60)


@pytest.mark.parametrize("phase", ["queue", "connect", "engine_queue", "wait"])
def test_wherever_the_wait_is_stamped_slots_are_missing(phase: str) -> None:
    facts = replace(CAUSES["slots"], phases=phases(**{phase: 4000.0}))
    assert "slots" in helping(facts)


def test_waiting_without_a_full_engine_asks_for_no_slots() -> None:
    assert "slots" not in helping(replace(CAUSES["slots"], answering=19.0))


def test_advice_is_sorted_by_gain() -> None:
    facts = replace(CAUSES["slots"], loads_ms=np.full(15, 1800.0))
    gains = [item.gain.ttft_p95_ms for item in of_facts(facts, SETTINGS)
             if item.effect is Effect.HELPS and item.gain.ttft_p95_ms is not None]  # fmt: skip
    assert gains == sorted(gains, reverse=True)
    assert len(gains) >= 2


def test_a_context_that_overflows_grows() -> None:
    item = helping(CAUSES["context"])["context"]
    assert str(item.lines[0]) == "local_optimization.model_loading.num_ctx: 3072"
    assert item.gain.error_share == pytest.approx(0.06)


def test_more_threads_than_cores_help_nothing() -> None:
    found = {item.key: item for item in of_facts(calm(cores=2.0, engine_cores=1.95), SETTINGS)}
    assert found["threads"].effect is Effect.HELPS_NOTHING
    assert str(found["threads"].lines[0]) == "local_optimization.inference.num_thread: 2"


def test_hedged_p95_of_constants() -> None:
    local = np.concatenate([np.full(80, 100.0), np.full(20, 5000.0)])
    remote = np.full(50, 500.0)
    assert cloud.hedged_p95(local, remote, 300.0) == 800.0
    assert cloud.hedged_p95(local, remote, 1e9) == 5000.0
    delay, after, share = cloud.best_delay(local, remote)
    assert share == pytest.approx(0.2)
    assert delay == pytest.approx(100.0)
    assert after == pytest.approx(600.0)


def test_a_slow_cloud_wins_no_hedge() -> None:
    found = {item.key: item for item in of_facts(calm(), SETTINGS)}
    assert found["hedging"].effect is Effect.HELPS_NOTHING
    assert found["hedging"].lines == ()


def test_overlap() -> None:
    starts, ends = np.array([0.0, 0.0, 10.0]), np.array([10.0, 20.0, 20.0])
    # Two at any time: the first hands on to the third at 10.
    assert overlap(starts, ends) == 2
    assert overlap(np.array([0.0]), np.array([np.nan])) is None


# The guide's nine sentences


def test_the_nine_sentences_are_all_mapped() -> None:
    told = SETTINGS.tuning_recommendations
    listed = [*told.slow_response, *told.high_memory, *told.high_error_rate]
    assert len(listed) == 9
    assert set(listed) == set(guide.RECOMMENDATIONS)
    answered = guide.guide(calm(), SETTINGS)
    assert [item.sentence for item in answered] == listed
    assert all(item.action and item.finding for item in answered)


def of_guide(facts: Facts, key: str, settings: Settings = SETTINGS) -> Advice:
    return next(item for item in guide.guide(facts, settings) if item.key == key)


SAID: list[tuple[str, Facts, Effect]] = [
    ("guide-num-ctx", calm(), Effect.HELPS_NOTHING),
    ("guide-num-ctx", calm(whole_tokens=np.full(200, 1500.0)), Effect.HARMS),
    ("guide-num-ctx", calm(overflowed=3), Effect.HARMS),
    ("guide-num-ctx", calm(whole_tokens=np.empty(0)), Effect.NOT_SHOWN),
    ("guide-temperature", calm(), Effect.HELPS_NOTHING),
    ("guide-cache", calm(), Effect.NOT_SHOWN),
    ("guide-cache", calm(routed=False), Effect.NOT_SHOWN),
    ("guide-cache", CAUSES["cache"], Effect.HELPS),
    ("guide-keep-alive", calm(), Effect.HARMS),
    ("guide-keep-alive", CAUSES["loading"], Effect.HARMS),
    ("guide-clear-cache", calm(), Effect.HARMS),
    ("guide-clear-cache", calm(cached_share=0.0), Effect.HELPS_NOTHING),
    ("guide-clear-cache", calm(engine_told=False), Effect.NOT_SHOWN),
    ("guide-restart", calm(), Effect.HARMS),
    ("guide-restart", CAUSES["memory"], Effect.HELPS),
    ("guide-restart", calm(memory=Estimate(None, None, None, 0)), Effect.NOT_SHOWN),
    ("guide-model-file", calm(), Effect.HELPS_NOTHING),
    ("guide-model-file", calm(errors={"http_5xx": 4}), Effect.NOT_SHOWN),
    ("guide-timeout", calm(), Effect.HELPS_NOTHING),
    ("guide-timeout", calm(errors={"first_token_timeout": 9}), Effect.HARMS),
    ("guide-remote", calm(), Effect.HARMS),
    ("guide-remote", calm(remote=drawn(100, 60)), Effect.HELPS),
    ("guide-remote", calm(local=np.append(drawn(200), np.full(20, np.inf))), Effect.HELPS),
    ("guide-remote", calm(remote=np.empty(0)), Effect.NOT_SHOWN),
]


@pytest.mark.parametrize(("key", "facts", "effect"), SAID)
def test_what_the_data_say_of_a_sentence(key: str, facts: Facts, effect: Effect) -> None:
    assert of_guide(facts, key).effect is effect


def test_nothing_is_said_of_a_local_model_that_answered_nobody() -> None:
    facts = calm(local=np.empty(0))
    assert of_guide(facts, "guide-timeout").effect is Effect.NOT_SHOWN
    assert of_guide(facts, "guide-keep-alive").effect is Effect.NOT_SHOWN


def test_a_sentence_of_somebody_else_has_no_action() -> None:
    told = {"tuning_recommendations": {"slow_response": ["buy a larger machine"]}}
    (item,) = guide.guide(calm(), settings_room.from_mapping(told))
    assert item.effect is Effect.NOT_SHOWN
    assert item.sentence == "buy a larger machine"


# From folders


def test_a_run_before_four_slots(tmp_path: Path) -> None:
    """Twenty in flight; each request waits four of five parts of its time, so four are answered."""
    waits: list[float | None] = [3_000.0] * 100
    block = Block("target", 20, waits, output_tokens=20, seconds=19.0)
    found = advise(runs.write(tmp_path / "r", [block], with_attempts=False), SLO, SETTINGS)
    assert (found.arm, found.step_users, found.n) == ("target", 20, 100)
    assert found.advice[0].key == "slots"
    assert any("no engine timings" in gap for gap in found.missing)
    assert any("cloud" in gap for gap in found.missing)


def test_a_hybrid_run(tmp_path: Path) -> None:
    found = advise(runs.write(tmp_path / "r", runs.three_arms()), SLO, SETTINGS)
    assert found.arm == "hybrid"
    assert len(found.guide) == 9
    assert not any("router attempts" in gap for gap in found.missing)


def test_a_run_without_attempts_says_what_is_missing(tmp_path: Path) -> None:
    run_dir = runs.write(tmp_path / "r", runs.three_arms(), with_attempts=False)
    found = advise(run_dir, SLO, SETTINGS)
    assert any("no router attempts" in gap for gap in found.missing)
    assert not any(item.key in {"slots", "queue"} for item in found.advice)


def test_all_errors(tmp_path: Path) -> None:
    block = Block("hybrid", 20, [None] * 100, tier="local", error_type="first_token_timeout")
    found = advise(runs.write(tmp_path / "r", [block]), SLO, SETTINGS)
    timeout = next(item for item in found.guide if item.key == "guide-timeout")
    assert timeout.effect is Effect.HARMS


@pytest.mark.parametrize(
    ("make", "arm", "message"),
    [
        (lambda path: path, None, "is no folder"),
        (
            lambda path: runs.write(path, [Block("hybrid", 5, [200.0] * 9)]),
            "b",
            "--arm b: expected",
        ),
        (
            lambda path: runs.write(path, [Block("hybrid", 5, [200.0] * 9, phase="warmup")]),
            None,
            "no request of hybrid in the steady part",
        ),
    ],
)
def test_what_cannot_be_advised_on(
    tmp_path: Path, make: Callable[[Path], Path], arm: str | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        advise(make(tmp_path / "r"), SLO, SETTINGS, arm)


def test_a_cloud_that_fails_as_often_is_no_help() -> None:
    failing = np.where(np.arange(200) % 5 == 0, np.inf, drawn(200))
    down = calm(local=failing, remote=np.full(60, np.inf))
    found = of_guide(down, "guide-remote")
    assert found.effect is Effect.HARMS
    assert "20.0% of the local requests failed, and 100.0% of the cloud's" in found.finding
    assert found.gain.error_share == pytest.approx(-0.8)
    up = of_guide(calm(local=failing), "guide-remote")
    assert up.effect is Effect.HELPS
    assert up.gain.error_share == pytest.approx(0.2)
    late = of_guide(calm(remote=np.full(60, np.inf)), "guide-remote")
    assert "the cloud's first token comes never at the median" in late.finding


def test_a_figure_that_is_not_known_is_not_shown_as_zero() -> None:
    hits = calm(exact=np.full(190, 2.0), local=drawn(200, n=10), remote_share=0.0)
    caches = next(item for item in of_facts(hits, SETTINGS) if item.key == "cache")
    assert [item.name for item in caches.evidence] == [
        "answered by the exact cache",
        "answered by the semantic cache",
    ]
    nobody = of_guide(calm(local=np.empty(0), phases={}), "guide-remote")
    assert all("local" not in item.name for item in nobody.evidence)
    silent = of_guide(calm(ttft_p50_ms=Estimate(None, None, None, 0)), "guide-temperature")
    assert silent.evidence == ()
