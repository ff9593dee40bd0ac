"""What the bench can be told of talking devices."""

from __future__ import annotations

from typing import Any

import pytest

from firsttoken.cli.talking import (
    BURST_PERIOD_SECONDS,
    DEFAULTS,
    OTHERWISE,
    VOICE_CHOICES,
    options_of,
    voice_options_of,
)
from firsttoken.core.errors import UserError
from firsttoken.load.schedules.options import (
    BurstOptions,
    SessionsOptions,
    Switch,
    VoiceLanguage,
    VoiceOptions,
    VoiceTools,
)

NOTHING = {"think": None, "turns": None, "barge_in": None, "burst_period": None}


def read(scenario: str, step_seconds: float = 60.0, **given: Any) -> dict[str, Any]:
    return options_of(scenario, step_seconds=step_seconds, **{**NOTHING, **given})


def test_what_was_given_goes_into_the_plan_and_nothing_else() -> None:
    assert read("sessions") == {}
    assert read("steps") == {}
    found = read("soak", think="0.5,4", turns="3,3", barge_in=0.0)
    assert SessionsOptions(**found.pop("sessions")) == SessionsOptions(
        think_seconds=(0.5, 4.0), turns=(3, 3), barge_in_share=0.0
    )
    assert found == {}
    found = read("burst", burst_period=5.0)
    assert BurstOptions(**found.pop("burst")) == BurstOptions(period_seconds=5.0)
    assert found == {}


@pytest.mark.parametrize(
    ("scenario", "given", "says"),
    [
        ("sessions", {"think": "4,1"}, "--think 4,1"),
        ("sessions", {"think": "nan,nan"}, "--think"),
        ("sessions", {"think": "1"}, "--think 1"),
        ("sessions", {"think": "-1,2"}, "--think"),
        ("soak", {"turns": "x"}, "--turns x"),
        ("soak", {"turns": "1.5,3"}, "whole numbers"),
        ("soak", {"turns": "0,3"}, "--turns"),
        ("steps", {"barge_in": 0.1}, "--scenario steps: .*--barge-in"),
        ("burst", {"think": "1,2"}, "--scenario burst: --think"),
        ("sessions", {"burst_period": 5.0}, "--burst-period is for burst"),
        ("burst", {"burst_period": 90.0}, "--step-seconds 90 or more"),
        ("burst", {"step_seconds": 5.0}, "--step-seconds 10 or more"),
    ],
)
def test_a_wrong_option_is_one_line_that_names_it(
    scenario: str, given: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserError, match=says) as caught:
        read(scenario, **given)
    assert "\n" not in str(caught.value)


def test_each_scenario_has_a_load_that_means_something() -> None:
    assert BurstOptions().period_seconds == BURST_PERIOD_SECONDS
    assert DEFAULTS["soak"].step_seconds == 900
    assert DEFAULTS["sessions"].step_seconds >= 120, "20 devices ask about twice a second"
    assert DEFAULTS.get("steps", OTHERWISE).users == "5,10,15,20"


VOICE_NOTHING = {"tools": None, "language": None, "memory_jobs": None}


def test_what_was_said_of_a_voice_server_goes_into_the_plan() -> None:
    assert voice_options_of("sessions", **VOICE_NOTHING) == {}
    found = voice_options_of("voice", tools="intent", language=None, memory_jobs="off")
    assert found == {"voice": {"tools": "intent", "memory_jobs": "off"}}
    kinds = {"tools": VoiceTools, "language": VoiceLanguage, "memory_jobs": Switch}
    for key, choices in VOICE_CHOICES.values():
        assert set(choices) == set(kinds[key])
        assert key in VoiceOptions.model_fields


@pytest.mark.parametrize(
    ("scenario", "given", "says"),
    [
        ("voice", {"tools": "some"}, "--voice-tools some: expected full, intent, none"),
        ("voice", {"language": "fr"}, "--voice-language fr"),
        ("voice", {"memory_jobs": "yes"}, "--memory-jobs yes: expected on, off"),
        ("sessions", {"memory_jobs": "off"}, "--scenario sessions: --memory-jobs is for voice"),
    ],
)
def test_a_wrong_word_about_the_voice_server_is_named(
    scenario: str, given: dict[str, str], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        voice_options_of(scenario, **{**VOICE_NOTHING, **given})
