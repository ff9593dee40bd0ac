"""Which backend should not come first, from mode and queue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.catalogue import Mode
from firsttoken.core.words import Reason
from router.policy.avoid import Pressure, avoid
from tests.router.conftest import backend

LOCAL = backend("local", first_token_timeout_s=5.0)


@pytest.mark.parametrize(
    ("pressure", "draw", "reason"),
    [
        (Pressure(), 0.99, None),
        (Pressure(Mode.REMOTE_ONLY), 0.0, Reason.MODE_REMOTE_ONLY),
        (Pressure(Mode.HYBRID, local_share=0.8), 0.79, None),
        (Pressure(Mode.HYBRID, local_share=0.8), 0.8, Reason.LOCAL_SLOW),
        (Pressure(Mode.REDUCED_LOCAL, local_share=0.0), 0.0, Reason.LOCAL_OVERLOADED),
        (Pressure(Mode.LOCAL_ONLY, local_share=0.0), 0.9, None),
        (Pressure(full=True), 0.0, Reason.QUEUE_FULL),
        # Waiting is worth it as long as the cloud would be later still.
        (Pressure(wait_s=1.0, own_s=0.3, other_s=1.4), 0.0, None),
        (Pressure(wait_s=1.0, own_s=0.5, other_s=1.4), 0.0, Reason.PREDICTED_LATE),
        # Of a cloud that was never asked nothing is known: then the deadline counts.
        (Pressure(wait_s=4.9), 0.0, None),
        (Pressure(wait_s=5.1), 0.0, Reason.PREDICTED_LATE),
        (Pressure(wait_s=5.1, other_s=60.0), 0.0, Reason.PREDICTED_LATE),
        (Pressure(own_s=9.0, other_s=1.0), 0.0, None),
    ],
)
def test_reasons(pressure: Pressure, draw: float, reason: Reason | None) -> None:
    assert avoid(LOCAL, pressure, draw) == ({} if reason is None else {"local": reason})


@given(
    st.sampled_from([Mode.HYBRID, Mode.REDUCED_LOCAL]),
    st.floats(0, 1),
    st.floats(0, 1, exclude_max=True),
)
def test_the_share_that_stays_local_is_the_share(mode: Mode, share: float, draw: float) -> None:
    assert (not avoid(LOCAL, Pressure(mode, local_share=share), draw)) is (draw < share)
