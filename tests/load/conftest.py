"""What several tests of the load room share."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from firsttoken.core.child import Child


@pytest.fixture(scope="session")
def truth_url() -> Iterator[str]:
    argv = [sys.executable, "-m", "firsttoken.upstreams.truth", "--port", "0"]
    argv += ["--first-token-ms", "50:120", "--token-interval-ms", "5"]
    with Child.start(argv) as truth:
        yield truth.url
