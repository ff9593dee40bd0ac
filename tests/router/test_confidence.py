"""Confidence from the probabilities of the first tokens."""

from __future__ import annotations

from math import inf, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.settings.conditions import TRIGGERS, parse
from firsttoken.wire.dialects import get
from firsttoken.wire.events import Probabilities
from router.confidence import HALF_MARGIN, Confidence, lower_quartile
from tests.wire.samples import STREAMS


def frame(*pairs: tuple[float, float | None]) -> Probabilities:
    """Return a frame of tokens by the probabilities of the two likeliest candidates."""
    logs = [
        (log(first) if first else -inf, None if second is None else log(second) if second else -inf)
        for first, second in pairs
    ]
    return Probabilities(0, tuple(a for a, _ in logs), tuple(b for _, b in logs))


def confidence_of(*frames: Probabilities, tokens: int = 3) -> float | None:
    confidence = Confidence(tokens)
    for one in frames:
        confidence.take(one)
    return confidence.value()


def test_the_guides_threshold_is_a_margin_of_five_percent() -> None:
    assert confidence_of(frame((0.40, 0.35)), frame((0.40, 0.35), (0.40, 0.35))) == pytest.approx(
        0.8
    )
    assert confidence_of(*[frame((0.40, 0.36))] * 3) == pytest.approx(0.04 / (0.04 + HALF_MARGIN))
    assert confidence_of(*[frame((0.3, 0.3))] * 3) == 0


def test_more_certain_is_higher_and_the_order_does_not_matter() -> None:
    sure, unsure = (0.98, 0.01), (0.2, 0.19)
    values = [
        confidence_of(frame(*pairs))
        for pairs in ([sure] * 3, [sure, sure, unsure], [sure, unsure, unsure], [unsure] * 3)
    ]
    assert values == sorted(values, key=lambda value: value or 0, reverse=True)
    # Of three, the one in doubt weighs half; a second one decides.
    assert len(set(values)) == 3
    assert confidence_of(frame(unsure, sure, sure)) == confidence_of(frame(sure, sure, unsure))


def test_an_unlikely_choice_counts_as_the_doubt_of_the_model_only() -> None:
    assert confidence_of(frame(*[(0.1, 0.8)] * 3)) == confidence_of(frame(*[(0.8, 0.1)] * 3))


def test_only_the_first_tokens_count() -> None:
    first = frame((0.9, 0.1), (0.9, 0.1), (0.9, 0.1))
    confidence = Confidence()
    confidence.take(first)
    before = confidence.value()
    assert confidence.complete
    confidence.take(frame((0.5, 0.5)))
    assert confidence.value() == before
    assert confidence_of(first, tokens=4) is None


@pytest.mark.parametrize(
    "frames",
    [
        (),
        (frame((0.9, 0.1)),),
        (frame((0.9, 0.1), (0.9, 0.1), (0.9, None)),),
        (frame((1.0, None), (1.0, None), (1.0, None)),),
        (frame((1.0, 0.0), (1.0, 0.0), (1.0, 0.0)),),
        (frame((1.0, 1.0), (1.0, 1.0), (1.0, 1.0)),),
    ],
)
def test_no_evidence_is_unknown_and_commits_local(frames: tuple[Probabilities, ...]) -> None:
    value = confidence_of(*frames)
    assert value is None
    assert not parse("local_model_confidence < 0.8", TRIGGERS).holds(value)


def test_a_real_stream_is_judged() -> None:
    confidence = Confidence()
    for event in get("openai").reader().feed(STREAMS["llamacpp_logprobs.sse"], 0):
        if isinstance(event, Probabilities):
            confidence.take(event)
    value = confidence.value()
    assert value is not None
    assert 0.9 < value < 1


@given(
    st.lists(
        st.tuples(st.floats(max_value=0), st.one_of(st.none(), st.floats(max_value=0))),
        max_size=8,
    )
)
def test_any_logarithms_give_a_share_or_nothing(pairs: list[tuple[float, float | None]]) -> None:
    event = Probabilities(0, tuple(a for a, _ in pairs), tuple(b for _, b in pairs))
    value = confidence_of(event)
    assert value is None or 0 <= value <= 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_the_lower_quartile_lies_among_the_values(values: list[float]) -> None:
    ascending = sorted(values)
    assert ascending[0] <= lower_quartile(ascending) <= ascending[-1]


def test_the_lower_quartile_by_hand() -> None:
    assert lower_quartile([3.0]) == 3.0
    assert lower_quartile([1.0, 2.0, 9.0]) == 1.5
    assert lower_quartile([1.0, 2.0, 3.0, 4.0, 5.0]) == 2.0
