"""Many talkers under gevent: nothing blocks, and nothing heavy is built during the ramp."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.load.scripted import CHUNKED_HEAD, DONE, STOP, Reply, Scripted, chunked, delta, sse

ROOT = Path(__file__).parents[2]
FIRST_TOKEN_S = 0.1
REPLY = Reply([CHUNKED_HEAD, FIRST_TOKEN_S, *chunked(sse(delta("Hello."), STOP, DONE))])


def talk(url: str, talkers: int, *options: str) -> dict[str, Any]:
    argv = [sys.executable, "-m", "tests.load.talkers_child", url, str(talkers), *options]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Return a certificate of this host's own, and its key."""
    key, chain = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-days", "1", "-subj", "/CN=localhost"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(chain)),
        ],
        check=True,
        capture_output=True,
    )
    return chain, key


def test_tls_holds_no_talker_up(certificate: tuple[Path, Path]) -> None:
    """Were a handshake or a read to block, twenty talkers would take 4 s of waiting in a row."""
    chain, key = certificate
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(chain, key)
    with Scripted([REPLY] * 40, tls=serving) as server:
        found = talk(server.url, 20, str(chain))
        assert server.connections == 20
    assert found["outcomes"] == ["success"]
    assert found["reused"] == 20
    assert found["seconds"] < 2.5
    assert all(ttft_ms >= FIRST_TOKEN_S * 1000 for ttft_ms in found["ttft_ms"])
    assert found["ttft_ms"][len(found["ttft_ms"]) // 2] < FIRST_TOKEN_S * 1000 + 60


def test_a_talkers_first_request_is_cheap() -> None:
    """Processor time in the client, connecting included: below 1 ms, as the ones after it."""
    with Scripted([REPLY] * 200) as server:
        found = talk(server.url, 100)
    assert found["outcomes"] == ["success"]
    assert found["reused"] == 100
    spent_ms = found["first_cpu_ms"]
    assert len(spent_ms) == 100
    # A busy machine stretches some: nine in ten are enough to tell what is built each time.
    assert spent_ms[89] < 1.0, spent_ms
