"""The plan is pure: the same seed says the same things, in every arm and however late."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.errors import UserError
from firsttoken.core.personas import Persona
from firsttoken.load.corpus import Corpus, Utterance, read_corpus
from firsttoken.load.plan import (
    SHORTEST_REPLY_TOKENS,
    RunPlan,
    request_id,
    session_id,
)
from firsttoken.load.script import Script

CORPORA = Path(__file__).parents[2] / "loadtests" / "corpora"
CORPUS = read_corpus(CORPORA)
STEPS = [5, 10, 15, 20]


def plan_of(**changes: Any) -> dict[str, Any]:
    arm = {"url": "http://127.0.0.1:1", "model": "m", "dialect": "openai"}
    return {
        "run_id": "20260101T000000Z-steps",
        "run_dir": "run",
        "scenario": "steps",
        "seed": 1,
        "steps": STEPS,
        "step_seconds": 15,
        "warmup_seconds": 3,
        "final_step_seconds": None,
        "arms": [{"arm": "hybrid", **arm}, {"arm": "local_only", **arm, "extra_body": {"n": 1}}],
        "max_tokens": 24,
        "repeat_share": 0.0,
        "request_timeout_seconds": 30,
        "parent_pid": 123,
        **changes,
    }


def parse(**changes: Any) -> RunPlan:
    return RunPlan.parse(json.dumps(plan_of(**changes)), "plan.json")


def test_blocks_go_through_all_arms_at_each_number_of_users() -> None:
    blocks = parse(final_step_seconds=30).blocks()
    assert [(block.users, block.arm.arm) for block in blocks] == [
        (users, arm) for users in STEPS for arm in ("hybrid", "local_only")
    ]
    assert [block.number for block in blocks] == list(range(8))
    assert [block.steady_seconds for block in blocks] == [15.0] * 6 + [30.0] * 2


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"steps": []}, "steps"),
        ({"steps": [0]}, "steps"),
        ({"steps": ["5"]}, "steps"),
        ({"step_seconds": 0}, "step_seconds"),
        ({"step_seconds": -1}, "step_seconds"),
        ({"warmup_seconds": -1}, "warmup_seconds"),
        ({"repeat_share": 1.5}, "repeat_share"),
        ({"run_id": "a b"}, "run_id"),
        ({"run_id": "../x/y"}, "run_id"),
        ({"arms": []}, "arms"),
        ({"arms": [plan_of()["arms"][0]] * 2}, "same name"),
        ({"surprise": 1}, "surprise"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_a_wrong_plan_is_one_line_that_names_the_key(changes: dict[str, Any], names: str) -> None:
    with pytest.raises(UserError, match=names) as caught:
        parse(**changes)
    assert "\n" not in str(caught.value)


def test_a_plan_that_is_no_plan(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        RunPlan.read(tmp_path / "none.json")
    with pytest.raises(UserError, match=r"plan\.json"):
        RunPlan.parse("{", "plan.json")
    with pytest.raises(UserError):
        RunPlan.parse("[]", "plan.json")


def test_names_are_unique() -> None:
    names = {
        request_id(session_id("r", arm, block, user), turn)
        for arm in ("a", "a-1", "a-1-1")
        for block in range(12)
        for user in range(12)
        for turn in range(12)
    }
    assert len(names) == 3 * 12**3


@given(seed=st.integers(), share=st.sampled_from([0.0, 0.3, 1.0]), users=st.integers(1, 40))
def test_the_schedule_depends_on_nothing_but_its_arguments(
    seed: int, share: float, users: int
) -> None:
    corpus = read_corpus(CORPORA)
    turns = [(user, turn) for user in range(users) for turn in range(3)]
    once = Script(corpus, [users], seed, share)
    again = Script(corpus, [users], seed, share)
    forwards = {key: once.say(0, *key) for key in turns}
    backwards = {key: again.say(0, *key) for key in reversed(turns)}
    assert forwards == backwards


@given(seed=st.integers(0, 1000))
def test_nothing_is_said_twice_in_a_run_as_long_as_the_corpus_lasts(seed: int) -> None:
    corpus = read_corpus(CORPORA)
    schedule = Script(corpus, STEPS, seed, 0.0)
    said = [
        schedule.say(step, user, turn)
        for step, users in enumerate(STEPS)
        for user in range(users)
        for turn in range(7)
    ]
    assert len(set(said)) == len(said)


def test_a_user_keeps_its_persona_and_is_spoken_to_in_its_language() -> None:
    corpus = read_corpus(CORPORA)
    schedule = Script(corpus, STEPS, 3, 0.0)
    for user in range(20):
        personas = {
            schedule.say(step, user, turn).persona for step in range(4) for turn in range(5)
        }
        assert len(personas) == 1
        persona = personas.pop()
        for turn in range(30):
            said = schedule.say(3, user, turn)
            assert said.utterance in corpus.spoken_to(persona)
            assert [message["role"] for message in said.messages()] == ["system", "user"]


def test_every_utterance_is_said_in_a_long_run() -> None:
    corpus = read_corpus(CORPORA)
    schedule = Script(corpus, [10], 1, 0.0)
    said = {schedule.say(0, user, turn).utterance for user in range(10) for turn in range(120)}
    assert said == set(corpus.utterances)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_repeat_share_is_what_repeats(share: float) -> None:
    corpus = read_corpus(CORPORA)
    schedule = Script(corpus, [20], 1, share)
    seen: Counter[Any] = Counter()
    repeats = 0
    for turn in range(20):
        for user in range(20):
            said = schedule.say(0, user, turn)
            repeats += seen[said] > 0
            seen[said] += 1
    assert repeats / 400 == pytest.approx(share, abs=0.08)
    popular = [said for said, count in seen.items() if count > 1]
    assert len(popular) <= 4 * len(corpus.personas)


def test_a_tiny_corpus_repeats_and_does_not_fail() -> None:
    corpus = Corpus((Persona("p", "en", "s"),), (Utterance("u", "en", "chat", "hi"),))
    for share in (0.0, 1.0):
        schedule = Script(corpus, [3, 6], 1, share)
        texts = {
            schedule.say(1, user, turn).utterance.text for user in range(6) for turn in range(3)
        }
        assert texts == {"hi"}


def test_steps_start_at_different_parts_of_the_corpus() -> None:
    schedule = Script(read_corpus(CORPORA), STEPS, 1, 0.0)
    starts = [schedule.say(step, 0, 0).utterance.id for step in range(4)]
    assert all(one != other for one, other in pairwise(starts))


@pytest.mark.parametrize(
    ("name", "line", "says"),
    [
        ("utterances.jsonl", "nonsense", "utterances.jsonl:1 is not JSON"),
        ("utterances.jsonl", "[]", "not an object"),
        ("utterances.jsonl", '{"id":"u","lang":"zh","kind":"chat","text":""}', "'text'"),
        ("utterances.jsonl", '{"id":"u","lang":"fr","kind":"chat","text":"x"}', "'lang'"),
        ("utterances.jsonl", '{"id":"u","lang":"zh","kind":"chat","text":"x"}', "persona p"),
        ("personas.jsonl", "", "no persona"),
    ],
)
def test_a_bad_corpus_is_one_line_with_its_place(
    tmp_path: Path, name: str, line: str, says: str
) -> None:
    (tmp_path / "personas.jsonl").write_text('{"id":"p","lang":"en","system":"s"}\n')
    (tmp_path / "utterances.jsonl").write_text('{"id":"u","lang":"en","kind":"chat","text":"x"}\n')
    (tmp_path / name).write_text(line + "\n")
    with pytest.raises(UserError, match=says):
        read_corpus(tmp_path)


@given(
    step=st.integers(0, 1),
    user=st.integers(0, 19),
    turn=st.integers(0, 500),
    longest=st.integers(1, 200),
)
def test_replies_differ_in_length_and_are_the_same_for_every_arm(
    step: int, user: int, turn: int, longest: int
) -> None:
    one, other = (Script(CORPUS, [5, 20], 7, 0.0) for _ in range(2))
    said = one.say(step, user, turn)
    found = one.reply_tokens(said, SHORTEST_REPLY_TOKENS, longest)
    assert found == other.reply_tokens(said, SHORTEST_REPLY_TOKENS, longest)
    assert min(SHORTEST_REPLY_TOKENS, longest) <= found <= longest
