"""What holds whatever happens: random arrivals, faults, cancellations, slow clients and modes."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from firsttoken.core.catalogue import HedgeResult, Mode
from firsttoken.core.settings.guide import CachingStrategy, LocalCache
from firsttoken.core.settings.own import Admission, Hedging
from firsttoken.core.words import Outcome, Tier
from router.account import AttemptRecord, DecisionRecord
from router.backends.requests import ReplyOptions
from router.config import Limits
from router.gate import ConfidenceRules
from router.health.breaker import BreakerRules
from router.health.modes import ModeState
from tests.router.scripted import Call, Fail, Script
from tests.router.simulation import Visit, World, sim_backend, world
from tests.router.virtual_time import DeadlockError, run

GRID_S = 0.05
"""Nearly all times are multiples of it, so that things happen at the same moment."""

EARLIEST_S = 0.001
"""A client may leave before anything was heard, but not before it has asked."""

BUDGET_S = 0.4
QUESTIONS = ("tell me more", "and then", "hello", "translate this", "one more thing")
REMOTES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("cloud", {"triggers": ("local_model_confidence < 0.8",)}),
    (
        "backup",
        {
            "dialect": "dashscope",
            "triggers": ("local_model_timeout", "local_model_confidence < 0.9"),
        },
    ),
    ("last", {"dialect": "ollama", "triggers": ("all_other_models_failed",)}),
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One client of a case."""

    at: int
    """In steps of the grid, as all times here."""
    question: int = 0
    dialect: str = "openai"
    stream: bool = True
    model: str = "auto"
    slow: int = 0
    leave: int | None = None
    stop: int | None = None
    turns: int = 0
    """Turns of the loop by which leaving and stopping happen later."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Something that happens to the router itself."""

    at: int
    what: str
    value: int = 0


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that is random."""

    arrivals: tuple[Arrival, ...]
    scripts: dict[str, tuple[Script, ...]]
    """By backend: for its first call, its second one and so on, then from the first again."""
    turns: tuple[Turn, ...] = ()
    remotes: int = 1
    local_dialect: str = "openai"
    deadline: int = 10
    slots: int | None = None
    queue: int | None = None
    extra_load: float | None = None
    """None: no hedges."""
    tokens: int = 0
    cache: bool = False
    hybrid: bool = True
    weighted: bool = False
    in_flight: int = 256
    failures: int = 1000
    """In a row, which open a circuit."""
    seed: int = 0


@dataclass(slots=True)
class Seen:
    """What was seen while a case ran."""

    world: World
    case: Case
    visits: list[Visit] = field(default_factory=list)


async def play(case: Case) -> Seen:
    """Run a case to its end."""
    deadline_s = case.deadline * GRID_S
    local = {"slots": case.slots, "dialect": case.local_dialect, "priority": 50}
    remotes = ((name, {"priority": 20, **changes}) for name, changes in REMOTES[: case.remotes])
    backends = [
        sim_backend(name, first_token_timeout_s=deadline_s, **changes)
        for name, changes in (("local", local), *remotes)
    ]
    asked: Counter[str] = Counter()

    def script_of(call: Call) -> Script:
        scripts = case.scripts[call.backend]
        asked[call.backend] += 1
        return scripts[(asked[call.backend] - 1) % len(scripts)]

    running = world(
        script_of,
        *backends,
        seed=case.seed,
        rules={"hybrid": case.hybrid, "weighted": case.weighted},
        options={"local": ReplyOptions(max_tokens=64, temperature=0.7)},
        breaker=BreakerRules(failures=case.failures, least_attempts=1000),
        hedging=Hedging(enable=case.extra_load is not None, extra_load=case.extra_load or 0.0),
        confidence=ConfidenceRules(tokens=case.tokens, budget_s=BUDGET_S),
        admission=Admission(queue=case.queue),
        caching=CachingStrategy(local_cache=LocalCache(enable=case.cache)),
        limits=Limits(in_flight=case.in_flight),
    )
    loop = asyncio.get_running_loop()
    async with running as made:
        tasks: list[asyncio.Task[Visit]] = []
        began_s = loop.time()
        for arrival in case.arrivals:
            loop.call_at(began_s + arrival.at * GRID_S, _arrive, made, arrival, tasks)
        for turn in case.turns:
            loop.call_at(began_s + turn.at * GRID_S, _turn, made, turn)
        last = max((arrival.at for arrival in case.arrivals), default=0)
        await asyncio.sleep((last + 1) * GRID_S)
        visits = list(await asyncio.gather(*tasks))
    return Seen(made, case, visits)


def _arrive(made: World, arrival: Arrival, tasks: list[asyncio.Task[Visit]]) -> None:
    leave_s, stop_s = (
        None if steps is None else max(EARLIEST_S, steps * GRID_S)
        for steps in (arrival.leave, arrival.stop)
    )
    tasks.append(
        made.visit(
            QUESTIONS[arrival.question],
            dialect=arrival.dialect,
            stream=arrival.stream,
            model=arrival.model,
            slow_s=arrival.slow * GRID_S,
            leave_s=leave_s,
            stop_s=stop_s,
            turns=arrival.turns,
        )
    )


def _turn(made: World, turn: Turn) -> None:
    serving = made.serving
    if turn.what == "mode":
        mode = tuple(Mode)[turn.value % len(Mode)]
        serving.watch.state = ModeState(mode, 0.5)
    elif turn.what == "cpu":
        serving.watch.cpu_share = 0.95 if turn.value % 2 else None
    elif turn.what == "drain":
        serving.monitor.drain("local")
    elif turn.what == "readmit":
        serving.monitor.readmit("local", healthy=turn.value % 2 == 0)
    else:
        for queue in serving._admissions.values():
            queue.resize(turn.value % 4 + 1)


def check(seen: Seen) -> None:
    """Check everything that always holds."""
    made, case = seen.world, seen.case
    decisions = made.decisions
    by_id = {decision.request_id: decision for decision in decisions}
    attempts: dict[str, list[AttemptRecord]] = {}
    for record in made.attempts:
        attempts.setdefault(record.request_id, []).append(record)

    # Each accepted request has exactly one outcome.
    accepted = len(seen.visits)
    assert len(decisions) == len(by_id) == accepted
    assert sum(made.metric("requests", outcome=outcome) for outcome in Outcome) == accepted
    assert made.metric("duration") >= accepted
    assert made.metric("in_flight") == 0
    assert made.serving.pipeline.in_flight == 0
    assert made.metric("attempts") == len(made.attempts)

    said: dict[str, set[str]] = {}
    for visit in sorted(seen.visits, key=lambda each: (each.began_s, int(each.request_id[1:]))):
        decision = by_id[visit.request_id]
        own = attempts.get(visit.request_id, [])
        assert visit.still_open == [], "a connection outlives its request"
        _check_attempts(decision, own)
        _check_text(visit, decision, made)
        _check_duration(visit, decision, own, made, case)
    for call in made.transport.calls:
        said.setdefault(call.question, set()).add("".join(call.tokens))
    for visit in seen.visits:
        decision = by_id[visit.request_id]
        if decision.tier is Tier.CACHE and decision.outcome is Outcome.SUCCESS and not visit.left:
            assert visit.reply.text in said[visit.question], "a cached reply nobody gave"

    hedged = sum(record.hedged for record in made.attempts)
    assert hedged <= (0 if case.extra_load is None else 1 + case.extra_load * accepted + 1e-6)
    counted = sum(
        made.metric("hedges", result=result) for result in HedgeResult if result != "denied"
    )
    assert counted <= hedged
    if case.slots is not None and not any(turn.what == "resize" for turn in case.turns):
        assert made.transport.busiest["local"] <= case.slots


def _check_attempts(decision: DecisionRecord, own: list[AttemptRecord]) -> None:
    assert len(own) == decision.attempts
    committed = [record for record in own if record.committed]
    assert len(committed) <= 1
    assert all(record.outcome is not None and record.ended_ns for record in own)
    assert sum(record.hedged for record in own) <= 1
    if decision.tier is Tier.CACHE:
        assert own == []
    elif committed:
        assert (committed[0].backend, committed[0].outcome) == (decision.backend, decision.outcome)
    else:
        assert decision.outcome is not Outcome.SUCCESS


def _check_text(visit: Visit, decision: DecisionRecord, made: World) -> None:
    """The client has text of one reply, from its start; all of it if the outcome says so."""
    assert len(visit.sources) <= 1, "text of two replies is mixed"
    for name, number in visit.sources:
        call = made.transport.calls[number]
        assert call.backend == name
        if decision.tier is not Tier.CACHE:
            assert (call.request_id, name) == (visit.request_id, decision.backend)
        reply = visit.reply
        whole = "".join(call.tokens)
        if visit.stream or visit.whole:
            assert whole.startswith(reply.text)
        if decision.outcome is Outcome.SUCCESS and not (visit.left or visit.stopped):
            assert reply.text == whole
    if visit.left or visit.stopped:
        return
    assert visit.whole, "the exchange was not ended"
    failure = visit.reply.failure
    if decision.outcome is Outcome.SUCCESS:
        assert (visit.status, failure) == (200, None)
    elif visit.stream and visit.status == 200:
        assert visit.sources, "a stream was begun without a token"
        told = visit.told
        assert told is not None, "no error form ends the stream"
        assert told.error_type is decision.error_type
    else:
        assert visit.status >= 400
        assert visit.sources == set()


def _check_duration(
    visit: Visit, decision: DecisionRecord, own: list[AttemptRecord], made: World, case: Case
) -> None:
    """The gate takes no longer than the deadlines of its attempts, of which the wait for a slot is
    a part; the relay no longer than the reply, then as long as a stream may be silent."""
    deadline_s = case.deadline * GRID_S
    # The first attempt with probabilities may be made again without them.
    bound_s = deadline_s * (len(own) + 1) + (BUDGET_S if case.tokens else 0)
    begun_s = visit.ended_s if visit.answered_s is None else visit.answered_s
    assert begun_s - visit.began_s <= bound_s + 1e-6
    last_s = max([begun_s, *(made.transport.calls[number].last_s for _, number in visit.sources)])
    assert visit.ended_s <= last_s + deadline_s + visit.slept_s + 1e-6
    assert decision.duration_ms is not None


STEPS = st.integers(0, 12)
SCRIPTS = st.builds(
    Script,
    fail=st.none() | st.none() | st.sampled_from(Fail),
    after=st.integers(0, 3),
    status=st.sampled_from([503, 500, 429, 401, 404, 400, 400]),
    tokens=st.integers(1, 6),
    headers_s=STEPS.map(lambda steps: steps * GRID_S),
    role_s=st.sampled_from([0.0, GRID_S]),
    first_s=STEPS.map(lambda steps: steps * GRID_S),
    gap_s=st.integers(0, 3).map(lambda steps: steps * GRID_S),
    split=st.none() | st.integers(5, 200),
    margin=st.sampled_from([None, 0.01, 0.9]),
    zeros=st.sampled_from([False, False, False, True]),
    refuses_probabilities=st.sampled_from([False, False, False, True]),
)
ARRIVALS = st.builds(
    Arrival,
    at=st.integers(0, 60),
    question=st.integers(0, len(QUESTIONS) - 1),
    dialect=st.sampled_from(["openai", "openai", "ollama", "ollama_generate"]),
    stream=st.sampled_from([True, True, True, False]),
    model=st.sampled_from(["auto", "auto", "auto", "local", "cloud"]),
    slow=st.sampled_from([0, 0, 0, 1, 7]),
    leave=st.none() | st.none() | st.integers(0, 24),
    stop=st.sampled_from([None] * 6 + [1, 4, 9]),
    turns=st.integers(0, 6),
)
TURNS = st.builds(
    Turn,
    at=st.integers(0, 60),
    what=st.sampled_from(["mode", "cpu", "drain", "readmit", "resize"]),
    value=st.integers(0, 9),
)
SOME = st.lists(SCRIPTS, min_size=1, max_size=5).map(tuple)
CASES = st.builds(
    Case,
    arrivals=st.lists(ARRIVALS, min_size=3, max_size=24).map(tuple),
    scripts=st.fixed_dictionaries(dict.fromkeys(["local", "cloud", "backup", "last"], SOME)),
    turns=st.lists(TURNS, max_size=4).map(tuple),
    remotes=st.sampled_from([0, 1, 1, 2, 3]),
    local_dialect=st.sampled_from(["openai", "ollama"]),
    deadline=st.sampled_from([4, 16, 24, 30]),
    slots=st.sampled_from([None, 1, 3, 8]),
    queue=st.sampled_from([None, 0, 1, 3]),
    extra_load=st.sampled_from([None, 0.0, 0.1, 1.0]),
    tokens=st.sampled_from([0, 3]),
    cache=st.booleans(),
    hybrid=st.sampled_from([True, True, True, False]),
    weighted=st.sampled_from([False, False, True]),
    in_flight=st.sampled_from([256, 256, 3]),
    failures=st.sampled_from([1000, 1000, 3]),
    seed=st.integers(0, 999),
)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(CASES)
def test_every_request_has_one_outcome_and_text_of_one_backend(case: Case) -> None:
    note(repr(case))
    check(run(play(case)))


def _random_script(chance: random.Random) -> Script:
    """A backend that mostly works."""
    return Script(
        fail=chance.choice(tuple(Fail)) if chance.random() < 0.15 else None,
        after=chance.randrange(4),
        status=chance.choice((503, 500, 429, 401, 404, 400)),
        tokens=chance.randrange(1, 6),
        headers_s=chance.expovariate(40),
        first_s=chance.expovariate(5),
        gap_s=chance.expovariate(30),
        split=chance.choice((None, None, None, 60)),
        margin=chance.choice((None, 0.01, 0.9)),
        zeros=chance.random() < 0.1,
    )


def _random_arrival(chance: random.Random, at: int) -> Arrival:
    left = chance.randrange(30) if chance.random() < 0.1 else None
    return Arrival(
        at,
        chance.randrange(len(QUESTIONS)),
        chance.choice(("openai", "openai", "ollama", "ollama_generate")),
        chance.random() < 0.9,
        chance.choice(("auto", "auto", "auto", "auto", "local", "cloud")),
        chance.choice((0, 0, 0, 0, 1)),
        leave=left,
        stop=3 if chance.random() < 0.01 else None,
    )


def test_a_long_day() -> None:
    chance = random.Random(20261123)  # noqa: S311
    names = ("local", "cloud", "backup", "last")
    case = Case(
        arrivals=tuple(_random_arrival(chance, number // 4) for number in range(3000)),
        scripts={name: tuple(_random_script(chance) for _ in range(997)) for name in names},
        turns=(
            *(Turn(at, "mode", at // 130) for at in range(100, 750, 130)),
            *(Turn(at, "cpu", at // 50) for at in range(50, 750, 50)),
            *(Turn(at, "drain") for at in range(200, 700, 250)),
            *(Turn(at + 20, "readmit", at // 250) for at in range(200, 700, 250)),
        ),
        remotes=3,
        deadline=20,
        slots=8,
        queue=16,
        extra_load=0.2,
        tokens=3,
        failures=10,
        in_flight=40,
    )
    seen = run(play(case))
    check(seen)
    outcomes = Counter(decision.outcome for decision in seen.world.decisions)
    # It was a day on which everything happened.
    assert set(outcomes) == set(Outcome)
    for result in HedgeResult:
        assert seen.world.metric("hedges", result=result) > 0
    tiers = Counter(decision.tier for decision in seen.world.decisions)
    assert min(tiers[Tier.LOCAL], tiers[Tier.REMOTE]) > 200


def test_a_simulation_that_waits_for_ever_is_found() -> None:
    async def waits() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(DeadlockError):
        run(waits())


def test_a_lost_exception_is_found() -> None:
    async def fails() -> None:
        raise ValueError("lost")

    async def forgets() -> None:
        task = asyncio.create_task(fails())
        await asyncio.sleep(1)
        del task

    with pytest.raises(AssertionError, match="lost"):
        run(forgets())
