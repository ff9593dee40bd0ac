"""The options of ``firsttoken bench`` that spread the load over several generators."""

from __future__ import annotations

from firsttoken.core.errors import UserError
from firsttoken.trials.generators import LOOPBACK, ONE, Generators

LOCUST_PORT = 5557
"""Locust's own default, where workers on other machines are to find the master."""


def generators_of(
    workers: int | None,
    expect_workers: int | None,
    bind: str | None,
    port: int | None,
    users: int,
) -> Generators:
    """Return who makes the load of at least ``users`` talkers.

    Raises:
        UserError: an option was given that only means something beside another one, or a
            generator would have no talker.
    """
    asked = (workers or 0) + (expect_workers or 0)
    if asked > users:
        raise UserError(
            f"--users: {users} talkers are too few for {asked} load generators; "
            "expected one for each at least"
        )
    if expect_workers is None and (bind is not None or port is not None):
        raise UserError("--bind and --port are for workers elsewhere: give --expect-workers too")
    if workers is None and expect_workers is None:
        return ONE
    return Generators(
        workers=workers or 0,
        expected=expect_workers or 0,
        bind=bind or LOOPBACK,
        port=(LOCUST_PORT if port is None else port) if expect_workers else 0,
    )


def settle_of(generators: Generators, settle: float | None, until_ci: str | None) -> float | None:
    """Return ``--settle`` as it is to be taken: several generators begin and end the steady part by
    the clock, since none of them sees the whole load.

    Raises:
        UserError: they were asked to find its beginning or end.
    """
    if not generators.total:
        return settle
    if settle or until_ci is not None:
        raise UserError("--settle and --until-ci need a single load generator, no --workers")
    return 0.0
