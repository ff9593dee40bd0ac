"""Signals and plans, as pure functions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.errors import UserError
from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import ErrorType, Reason, Tier
from router.policy import signals
from router.policy.plan import PlannedAttempt, Rules, State, plan, reason_after
from router.policy.signals import QueryClass, Signals, compile_patterns
from tests.router.conftest import backend

GUIDE = compile_patterns(
    ["你好|hello|hi", "谢谢|thank you", "再见|goodbye|bye", "天气|weather"],
    ["写代码|编程|programming", "翻译|translate", "分析|analysis", "创作|creative"],
)

LOCAL = backend("local", priority=80)
CLOUD = backend("cloud", priority=15, triggers=("query_complexity > 0.7", "local_model_timeout"))
BACKUP = backend("backup", priority=5, triggers=("all_other_models_failed",))
RULES = Rules((LOCAL, CLOUD, BACKUP))

SIMPLE = Signals(QueryClass.SIMPLE)
COMPLEX = Signals(QueryClass.COMPLEX)


def query_class(text: Any) -> QueryClass | None:
    return signals.read([{"role": "user", "content": text}], GUIDE).query_class


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hi", QueryClass.SIMPLE),
        ("Hi, robot", QueryClass.SIMPLE),
        ("say hi!", QueryClass.SIMPLE),
        ("this is history", None),
        ("whisper", None),
        ("HELLO", QueryClass.SIMPLE),
        ("Thank you so much", QueryClass.SIMPLE),
        ("thank yours", None),
        ("小朋友你好呀", QueryClass.SIMPLE),
        ("今天天气怎么样", QueryClass.SIMPLE),
        ("说hi给他", QueryClass.SIMPLE),
        ("你好，帮我写代码", QueryClass.COMPLEX),
        ("hello, please translate this", QueryClass.COMPLEX),
        ("translated", None),
        ("psychoanalysis", None),
        ("", None),
        (None, None),
        ([{"type": "text", "text": "please"}, {"type": "text", "text": "translate"}], "complex"),
        ([{"type": "image_url", "image_url": {"url": "hi"}}], None),
        ("x" * signals.WINDOW_CHARS + " translate", None),
    ],
)
def test_classes_of_the_guide(text: Any, expected: QueryClass | None) -> None:
    assert query_class(text) == expected


def test_only_the_last_user_message_counts() -> None:
    messages = [
        {"role": "system", "content": "translate"},
        {"role": "user", "content": "translate"},
        {"role": "assistant", "content": "translate"},
        {"role": "user", "content": "hi"},
        {"role": "tool", "content": "translate"},
    ]
    assert signals.read(messages, GUIDE).query_class is QueryClass.SIMPLE


def test_word_boundaries_keep_groups_classes_and_escapes_whole() -> None:
    patterns = compile_patterns(["(a|b)c|[x|y]z", r"what\|not|\d+ eur"], [])
    for text, found in (
        ("ac", True),
        ("yz", True),
        ("what|not", True),
        ("12 eur", True),
        ("12 euro", False),
        ("d", False),
    ):
        assert (
            bool(signals.read([{"role": "user", "content": text}], patterns).query_class) is found
        )


def test_no_patterns_and_bad_patterns() -> None:
    found = signals.read([{"role": "user", "content": "hi"}], compile_patterns([], []))
    assert found.query_class is None
    with pytest.raises(
        UserError, match=r"complex_queries\.patterns: '\(' is no regular expression"
    ):
        compile_patterns([], ["fine", "("])


@given(st.text(max_size=300))
def test_any_text_has_a_class_or_none(text: str) -> None:
    assert query_class(text) in {None, *QueryClass}


def shown(model: str, found: Signals, rules: Rules, state: State | None = None) -> list[str]:
    chosen = plan(model, found, rules, state or State())
    return [f"{each.backend.name}:{each.reason}" for each in chosen.attempts]


def test_plans_of_the_guide() -> None:
    tail = "backup:all_others_failed"
    assert shown("auto", Signals(), RULES) == ["local:default_local", "cloud:failover", tail]
    assert shown("auto", SIMPLE, RULES) == ["local:rule_simple", "cloud:failover", tail]
    assert shown("auto", COMPLEX, RULES) == ["cloud:rule_complex", "local:failover", tail]


def test_named_models() -> None:
    aliased = Rules((LOCAL, backend("cloud", model_aliases=("big", "local")), BACKUP))
    assert shown("big", SIMPLE, aliased)[0] == "cloud:named_model"
    assert shown("cloud-model", SIMPLE, aliased)[0] == "cloud:named_model"
    assert shown("local", COMPLEX, aliased)[0] == "local:named_model"
    assert shown("backup", COMPLEX, aliased) == [
        "backup:named_model",
        "cloud:failover",
        "local:failover",
    ]


def test_without_hybrid_mode_nothing_leaves_the_house() -> None:
    rules = Rules((LOCAL, CLOUD, BACKUP), hybrid=False)
    for model, found in (("auto", COMPLEX), ("cloud", Signals())):
        assert shown(model, found, rules) == ["local:local_only"]


def test_open_circuits_are_left_out() -> None:
    down = State(blocked=frozenset({"local"}))
    tail = "backup:all_others_failed"
    assert shown("auto", SIMPLE, RULES, down) == ["cloud:local_unhealthy", tail]
    assert shown("auto", COMPLEX, RULES, down) == ["cloud:rule_complex", tail]
    cloud_down = State(blocked=frozenset({"cloud"}))
    assert shown("auto", COMPLEX, RULES, cloud_down) == ["local:failover", tail]
    all_down = State(blocked=frozenset({"local", "cloud", "backup"}))
    assert shown("auto", SIMPLE, RULES, all_down) == shown("auto", SIMPLE, RULES)


def test_default_strategy() -> None:
    remote_first = Rules((LOCAL, backend("cloud"), BACKUP), first_try="remote_models")
    assert shown("auto", Signals(), remote_first)[0] == "cloud:default_remote"
    # A backend that has triggers gets no default traffic unless it is named.
    triggered = Rules((LOCAL, CLOUD, BACKUP), first_try="remote_models")
    assert shown("auto", Signals(), triggered)[0] == "local:default_local"
    named = Rules((LOCAL, CLOUD, BACKUP), first_try="cloud", fallback="local_model")
    assert shown("auto", Signals(), named)[:2] == ["cloud:default_remote", "local:failover"]
    third = backend("third")
    chosen = Rules((LOCAL, backend("cloud"), third), fallback="third")
    assert [each.split(":")[0] for each in shown("auto", Signals(), chosen)] == [
        "local",
        "third",
        "cloud",
    ]


def test_a_rule_whose_target_does_not_exist() -> None:
    assert shown("auto", COMPLEX, Rules((LOCAL,))) == ["local:default_local"]
    assert shown("auto", SIMPLE, Rules((backend("cloud"),))) == ["cloud:default_remote"]
    assert shown("auto", SIMPLE, Rules(())) == []


def test_weighted_shares_follow_the_priorities() -> None:
    rules = Rules((LOCAL, CLOUD, BACKUP), weighted=True)
    first = [
        shown("auto", Signals(), rules, State(draw=draw / 1000))[0].split(":")[0]
        for draw in range(1000)
    ]
    assert [first.count(name) for name in ("local", "cloud", "backup")] == [800, 150, 50]
    assert shown("auto", Signals(), rules, State(draw=0.9))[0] == "cloud:weighted_share"
    assert shown("auto", SIMPLE, rules, State(draw=0.9))[0] == "local:rule_simple"


def test_the_reason_of_a_later_attempt_tells_what_went_before() -> None:
    later = PlannedAttempt(CLOUD, Reason.FAILOVER)
    late, overflow = ErrorType.FIRST_TOKEN_TIMEOUT, ErrorType.CONTEXT_OVERFLOW
    assert reason_after(later, LOCAL, late) is Reason.LOCAL_TIMEOUT
    assert reason_after(later, BACKUP, late) is Reason.FAILOVER
    assert reason_after(later, LOCAL, overflow) is Reason.CONTEXT_OVERFLOW
    assert reason_after(later, LOCAL, ErrorType.CONNECT) is Reason.FAILOVER
    last = PlannedAttempt(BACKUP, Reason.ALL_OTHERS_FAILED)
    assert reason_after(last, LOCAL, late) is Reason.ALL_OTHERS_FAILED


TRIGGERS = st.sampled_from([(), ("query_complexity > 0.7",), ("all_other_models_failed",)])
NAMES = st.sampled_from([f"b{number}" for number in range(5)])
TARGETS = st.sampled_from(["local_model", "remote_models", "b0", "b1", "nobody"])


@st.composite
def rules(draw: st.DrawFn) -> Rules:
    count = draw(st.integers(0, 5))
    backends: tuple[Backend, ...] = tuple(
        backend(
            f"b{number}",
            tier=draw(st.sampled_from([Tier.LOCAL, Tier.REMOTE])),
            triggers=draw(TRIGGERS),
            priority=draw(st.integers(0, 100)),
        )
        for number in range(count)
    )
    return Rules(
        backends,
        hybrid=draw(st.booleans()),
        weighted=draw(st.booleans()),
        simple_target=draw(TARGETS),
        complex_target=draw(TARGETS),
        first_try=draw(TARGETS),
        fallback=draw(TARGETS),
    )


@given(
    rules(),
    st.sampled_from(["auto", "b0", "b1-model"]),
    st.sampled_from([Signals(), SIMPLE, COMPLEX, Signals(complexity=0.9)]),
    st.sets(NAMES),
    st.dictionaries(NAMES, st.sampled_from([Reason.LOCAL_SLOW, Reason.QUEUE_FULL]), max_size=2),
    st.floats(0, 1, exclude_max=True),
)
def test_every_plan_is_sound(
    rules: Rules,
    model: str,
    found: Signals,
    blocked: set[str],
    avoid: dict[str, Reason],
    draw: float,
) -> None:
    state = State(frozenset(blocked), frozenset(), avoid, draw)
    chosen = plan(model, found, rules, state)
    assert chosen == plan(model, found, rules, state)
    names = [each.backend.name for each in chosen.attempts]
    usable = [b for b in rules.backends if rules.hybrid or b.tier is Tier.LOCAL]
    up = [b.name for b in usable if b.name not in blocked]
    # Everybody who is up exactly once; everybody at all if nobody is.
    assert sorted(names) == sorted(up or [b.name for b in usable])
    for each in chosen.attempts[1:]:
        last_resort = "all_other_models_failed" in each.backend.triggers
        assert not (last_resort and (each.hedge or each.doubt))
        assert each.reason in {Reason.FAILOVER, Reason.ALL_OTHERS_FAILED}
    if names:
        first = chosen.attempts[0]
        if first.reason is Reason.DEFAULT_LOCAL:
            assert first.backend.tier is Tier.LOCAL
        assert first.doubt is None
        assert not first.hedge
        if first.reason in {Reason.LOCAL_SLOW, Reason.QUEUE_FULL}:
            assert first.backend.name not in avoid
        if first.reason is Reason.NAMED_MODEL:
            assert model in {first.backend.name, first.backend.model}
