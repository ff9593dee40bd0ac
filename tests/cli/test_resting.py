"""When the steady part begins and ends, as it was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from firsttoken.cli.resting import options_of, share_of
from firsttoken.core.errors import UserError


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("0.05", 0.05), ("12.5%", 0.125)])
def test_a_share(text: str, share: float) -> None:
    assert share_of(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "%", "five", "0", "100%", "-5%", "nan", "5"])
def test_no_share(text: str) -> None:
    with pytest.raises(UserError, match="such as 5%"):
        share_of(text)


def test_what_is_put_into_the_plan() -> None:
    nothing: dict[str, Any] = {"settle": None, "until_ci": None, "until_cap": None}
    assert options_of("steps", **nothing) == {"settle_cap_seconds": 30.0}
    assert options_of("burst", **nothing) == {}
    assert options_of("steps", settle=0, until_ci="5%", until_cap=60) == {
        "until_ci": 0.05,
        "until_cap_seconds": 60,
    }


def test_what_means_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="--until-cap"):
        options_of("steps", settle=None, until_ci=None, until_cap=9)
    with pytest.raises(UserError, match="planned"):
        options_of("open_loop", settle=None, until_ci="5%", until_cap=None)
