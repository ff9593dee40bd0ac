"""The scripts that containers run, run here: the health check, the pull, the making of secrets."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from tests.deploy.compose import OURS, ROOT, read, services
from tests.deploy.stand_in import MODEL, StandIn

FILES = services(read(OURS))
OPTIONS = FILES["local-llm"]["environment"]["OLLAMA_TOKEN_OPTIONS"]


def token(at: str, seconds: float = 10, model: str = MODEL) -> subprocess.CompletedProcess[str]:
    """Run the engine's health check as Compose has it, but for the path, the limit and the port."""
    _, shell, script, _ = FILES["local-llm"]["healthcheck"]["test"]
    path = ROOT / "config" / script.removeprefix("/etc/")
    return subprocess.run(
        [shell, path, str(seconds)],
        env={
            "PATH": os.environ["PATH"],
            "LOCAL_LLM_MODEL": model,
            "OLLAMA_TOKEN_OPTIONS": OPTIONS,
            "OLLAMA_TOKEN_AT": at,
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_token_is_health_and_is_asked_for_as_the_router_asks() -> None:
    with StandIn().serving() as server:
        done = token(server.at)
    assert (done.returncode, done.stderr) == (0, "")
    (asked,) = server.asked
    assert asked["model"] == MODEL
    assert asked["options"] == {
        "num_predict": 1,
        "num_ctx": 2048,
        "num_gpu": 0,
        "num_thread": 2,
        "use_mmap": True,
    }
    assert "keep_alive" not in asked, "the server's own, 24 h"


@pytest.mark.parametrize(
    ("server", "told"),
    [
        (StandIn(pulled=False), f"model '{MODEL}' not found"),
        (StandIn(manner="empty"), "a reply without a token"),
    ],
    ids=["model missing", "no token"],
)
def test_a_list_that_answers_is_not_health(server: StandIn, told: str) -> None:
    with server.serving():
        done = token(server.at)
    assert done.returncode == 1
    assert told in done.stderr


def test_a_server_that_hangs_is_given_up_in_time() -> None:
    with StandIn(manner="hangs").serving() as server:
        began = time.monotonic()
        done = token(server.at, seconds=0.5)
        took = time.monotonic() - began
    assert done.returncode != 0
    assert took < 5


def test_a_server_that_is_gone() -> None:
    with StandIn().serving() as server:
        gone = server.at
    done = token(gone)
    assert done.returncode == 1
    assert "nobody listens" in done.stderr


PROGRAM = """\
#!/bin/sh
# Stands in for the ollama program; the folder holds its state.
echo "$*" >> {folder}/calls
case $1 in
  list) test -e {folder}/up || {{ touch {folder}/up; exit 1; }} ;;
  show) test -e {folder}/pulled ;;
  pull) test ! -e {folder}/offline && touch {folder}/pulled ;;
esac
"""


def pull(folder: Path, server: StandIn, **changes: str) -> subprocess.CompletedProcess[str]:
    program = folder / "bin" / "ollama"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(folder=folder))
    program.chmod(0o755)
    shell, script = FILES["local-llm-pull"]["entrypoint"]
    return subprocess.run(
        [shell, ROOT / "config" / script.removeprefix("/etc/")],
        env={
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "LOCAL_LLM_MODEL": MODEL,
            "OLLAMA_TOKEN_OPTIONS": OPTIONS,
            "OLLAMA_TOKEN_AT": server.at,
            **changes,
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_pull_waits_for_the_server_then_pulls_and_loads(tmp_path: Path) -> None:
    with StandIn().serving() as server:
        done = pull(tmp_path, server)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "calls").read_text().splitlines() == [
        "list",
        "list",
        f"show {MODEL}",
        f"pull {MODEL}",
    ]
    assert len(server.asked) == 1, "the model is loaded"


def test_a_model_that_is_there_needs_no_network(tmp_path: Path) -> None:
    (tmp_path / "pulled").touch()
    (tmp_path / "up").touch()
    (tmp_path / "offline").touch()
    with StandIn().serving() as server:
        assert pull(tmp_path, server).returncode == 0


def test_pull_fails_where_the_model_cannot_be_had_or_the_server_stays_away(tmp_path: Path) -> None:
    with StandIn().serving() as server:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "offline").touch()
        (tmp_path / "a" / "up").touch()
        assert pull(tmp_path / "a", server).returncode == 1
        (tmp_path / "b").mkdir()
        done = pull(tmp_path / "b", server, PULL_WAIT_SECONDS="0")
    assert done.returncode == 1
    assert "did not come up" in done.stderr
    assert not server.asked


def test_secrets_are_made_once_and_kept_from_others(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    make = ["sh", str(ROOT / "config/compose/secrets.sh"), str(folder)]
    first = subprocess.run(make, capture_output=True, text=True, check=True, timeout=30)
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert made.keys() == read(OURS)["secrets"].keys() | {"load.env"}
    assert made["load.env"] == f"FIRSTTOKEN_API_KEY={made['api_keys']}\n"
    values = [value for name, value in made.items() if name != "load.env"]
    assert len(set(values)) == 3
    assert all(len(value) == 48 for value in values)
    assert not any(value in first.stdout + first.stderr for value in values)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    # The containers' users are others than the one that made the files.
    assert all(path.stat().st_mode & 0o044 for path in folder.iterdir() if path.suffix != ".env")
    subprocess.run(make, capture_output=True, check=True, timeout=30)
    assert {path.name: path.read_text() for path in folder.iterdir()} == made
