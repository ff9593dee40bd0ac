"""Who makes the load, as asked for on the command line."""

from __future__ import annotations

from typing import Any

import pytest

from firsttoken.cli.sharing import generators_of, settle_of
from firsttoken.core.errors import UserError
from firsttoken.trials.generators import ONE, Generators


def asked(**options: Any) -> Generators:
    return generators_of(
        **{
            "workers": None,
            "expect_workers": None,
            "bind": None,
            "port": None,
            "users": 20,
            **options,
        }
    )


def test_nothing_asked_is_one_process() -> None:
    assert asked() == ONE
    assert settle_of(ONE, 7.0, "5%") == 7.0


def test_workers_here_need_no_port_that_is_known() -> None:
    assert asked(workers=2) == Generators(workers=2)
    assert (asked(workers=2).bind, asked(workers=2).port) == ("127.0.0.1", 0)


def test_a_generator_without_a_talker_is_refused() -> None:
    with pytest.raises(UserError, match="2 talkers are too few for 3 load generators"):
        asked(workers=1, expect_workers=2, users=2)


def test_workers_elsewhere_find_the_master() -> None:
    found = asked(workers=1, expect_workers=2, bind="0.0.0.0")  # noqa: S104 - asked for
    assert (found.total, found.bind, found.port) == (3, "0.0.0.0", 5557)  # noqa: S104
    assert asked(expect_workers=1, port=9).port == 9
    assert asked(expect_workers=1).bind == "127.0.0.1"


@pytest.mark.parametrize("option", [{"bind": "0.0.0.0"}, {"port": 1, "workers": 2}])  # noqa: S104
def test_an_address_alone_means_nothing(option: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="--expect-workers"):
        asked(**option)


def test_several_generators_go_by_the_clock() -> None:
    assert settle_of(asked(workers=2), None, None) == 0.0
    for settle, until_ci in ((5.0, None), (None, "5%")):
        with pytest.raises(UserError, match="single load generator"):
            settle_of(asked(workers=2), settle, until_ci)
