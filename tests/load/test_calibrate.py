"""The calibration measures the generator against the truth, and notices what is no truth."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from firsttoken.core.child import Child


@pytest.fixture(scope="module")
def truth_url() -> Iterator[str]:
    with Child.start([sys.executable, "-m", "firsttoken.upstreams.truth", "--port", "0"]) as truth:
        yield truth.url


def calibrate(*options: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "firsttoken.load.calibrate", *options]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def test_one_line_of_figures(truth_url: str) -> None:
    done = calibrate("--url", truth_url, "--users", "10", "--seconds", "1", "--max-tokens", "5")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["requests"] >= 10
    # No upper bound that a busy machine could break: what it may be is the verdict's business.
    assert 0 < found["error_p50_ms"] <= found["error_p99_ms"] <= found["error_max_ms"]
    assert 0 < found["lag_p50_ms"] <= found["lag_p99_ms"] <= found["lag_max_ms"]
    assert found["lag_p50_ms"] <= found["error_p50_ms"] < 20
    assert 0 < found["cpu_us_per_token"] < 5000


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--seconds", "nan"], "--seconds"),
        (["--url", "http://127.0.0.1:1"], "no truth server"),
    ],
)
def test_what_cannot_be_measured_is_one_line(truth_url: str, options: list[str], says: str) -> None:
    done = calibrate("--url", truth_url, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
