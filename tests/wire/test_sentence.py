"""The segments that a voice server speaks, by its cut rules, wherever the answer is cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsttoken.wire.sentence import FIRST_CUTS, LATER_CUTS, Segment, Segmenter
from firsttoken.wire.speaking import spoken_seconds


def segments(pieces: list[str]) -> list[list[Segment]]:
    """Return what each piece completes, and last what the end does."""
    cutter = Segmenter()
    return [*map(cutter.feed, pieces), cutter.close()]


def spoken(text: str) -> Segment:
    """Return the segment of a text without emoji and punctuation at its beginning."""
    return Segment(
        sum(character.isalnum() and character >= "\u2e80" for character in text),
        sum(
            (character.isalnum() or character == " ") and character < "\u2e80" for character in text
        ),
    )


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        # The first is cut at the comma, later ones are not.
        ("你好，今天天气不错，适合出门。我们走吧！", ["你好", "今天天气不错适合出门", "我们走吧"]),
        ("😊你好呀！要听故事吗？好", ["你好呀", "要听故事吗", "好"]),
        # All that English of full stops has to say is said at the end.
        ("Hello there. It is fine.\nGo on.", ["Hello there It is fineGo on"]),
        ("Well, it is fine. Really! Yes.", ["Well", "it is fine Really", "Yes"]),
        ("今天 is Monday，and 明天 is Tuesday。", ["今天 is Monday", "and 明天 is Tuesday"]),
        ("1：两只老虎；2：小星星", ["1", "两只老虎", "2", "小星星"]),
        # What is nothing but punctuation is no segment, and the first is still to come.
        ("！？😂~好的、行。", ["好的", "行"]),
        ("好，😊。。。再见", ["好", "再见"]),
        ("🎉…。", []),
        ("", []),
    ],
)
def test_segments_at_every_cut(answer: str, expected: list[str]) -> None:
    whole = segments([answer])
    wanted = [spoken(text) for text in expected]
    assert [each for piece in whole for each in piece] == wanted
    characters = segments(list(answer))
    assert [each for piece in characters for each in piece] == wanted
    for place in range(len(answer) + 1):
        assert [
            each for piece in segments([answer[:place], answer[place:]]) for each in piece
        ] == wanted


def test_a_segment_comes_with_the_character_that_ends_it() -> None:
    found = segments(list("你好，我们走吧，快。"))
    assert [place for place, each in enumerate(found) if each] == [2, 9]
    assert found[-1] == []


def test_english_with_full_stops_says_nothing_before_the_end() -> None:
    cutter = Segmenter()
    assert cutter.feed("Hello there. It is fine. Go on.") == []
    assert cutter.speakable
    assert len(cutter.close()) == 1
    assert cutter.close() == []
    assert cutter.feed("好。") == []


def test_the_cut_sets() -> None:
    assert LATER_CUTS < FIRST_CUTS
    assert set("，~、,") == FIRST_CUTS - LATER_CUTS
    assert not FIRST_CUTS & set(".\n")


def test_the_time_to_speak_is_that_of_the_text() -> None:
    assert segments(["你好呀 my friend。"])[0][0].seconds == pytest.approx(
        spoken_seconds("你好呀 my friend。")
    )
    # A space before the first word is not spoken, one between words is a pause.
    assert segments(["😊 go on!"])[0] == [Segment(0, 5)]


@settings(max_examples=60)
@given(st.lists(st.text(alphabet="a好1.，!。😊 \n", max_size=6), max_size=8))
def test_nothing_that_can_be_spoken_is_lost(pieces: list[str]) -> None:
    found = [each for piece in segments(pieces) for each in piece]
    text = "".join(pieces)
    assert found == [each for piece in segments(list(text)) for each in piece]
    assert sum(each.eastern for each in found) == text.count("好")
    letters = sum(character.isalnum() for character in text)
    assert sum(each.eastern + each.western for each in found) >= letters
    assert all(each.eastern or each.western for each in found)
