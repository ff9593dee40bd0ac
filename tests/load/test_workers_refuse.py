"""What a master or worker does not take part in, as one line; as children, since Locust patches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from firsttoken.core.child import Child
from tests.load.test_plan import plan_of

ROOT = Path(__file__).parents[2]
LOCUST = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests" / "steps.py"), "Steps"]


def master(tmp_path: Path, **changes: Any) -> list[str]:
    values = {"run_dir": str(tmp_path), "steps": [2], "parent_pid": os.getpid()}
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan_of(**(values | changes))))
    argv = [*LOCUST, "--headless", "--run-plan", str(path), "--master"]
    return [*argv, "--expect-workers", "1", "--master-bind-host", "127.0.0.1"]


def test_a_worker_sends_no_secret_that_it_was_not_told_of(tmp_path: Path) -> None:
    """Whoever sends plans could name any variable, and a server of its own as the target."""
    arm = {"arm": "a", "url": "http://127.0.0.1:9", "model": "m", "api_key_env": "SECRET_OF_MINE"}
    argv = [*master(tmp_path, arms=[arm]), "--master-bind-port", "0"]
    with Child.start(argv, env={"SECRET_OF_MINE": "x"}) as leader:
        worker = subprocess.run(
            [*LOCUST, "--worker", "--master-port", str(leader.ready["port"])],
            env={**os.environ, "SECRET_OF_MINE": "hush"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert worker.returncode == 2
        assert "--api-key-env SECRET_OF_MINE" in worker.stderr
        assert "hush" not in worker.stderr + worker.stdout
        assert leader.wait(20) == 2
        assert "lost" in leader.last_error_line()


def test_a_master_cannot_wait_for_the_load_to_settle(tmp_path: Path) -> None:
    argv = [*master(tmp_path, settle_cap_seconds=5), "--master-bind-port", "0"]
    found = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 2
    assert "by the clock" in found.stderr.splitlines()[-1]
