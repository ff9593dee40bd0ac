"""``firsttoken tune``: what it prints, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from firsttoken.cli.main import app
from firsttoken.core.errors import UserError
from tests.reports import runs

RUNNER = CliRunner()


def test_a_run_is_advised_on(tmp_path: Path) -> None:
    run_dir = runs.write(tmp_path / "r", runs.three_arms(n=60))
    done = RUNNER.invoke(app, ["tune", str(run_dir), "--out", str(tmp_path / "advice")])
    assert done.exit_code == 0, done.output
    assert "THE GUIDE'S RECOMMENDATIONS" in done.stdout
    assert "降低temperature到0.5" in done.stdout
    body = json.loads((tmp_path / "advice" / "advice.json").read_text("utf-8"))
    assert len(body["guide"]) == 9
    assert (tmp_path / "advice" / "advice.md").read_text("utf-8").startswith("# What to change")


def test_json_and_the_settings_of_the_run(tmp_path: Path) -> None:
    run_dir = runs.write(tmp_path / "r", runs.three_arms(n=60))
    (run_dir / "settings.yaml").write_text(
        "tuning_recommendations:\n  slow_response: ['wait']\n", "utf-8"
    )
    done = RUNNER.invoke(app, ["tune", str(run_dir), "--json", "--arm", "local_only"])
    assert done.exit_code == 0, done.output
    body = json.loads(done.stdout)
    assert body["arm"] == "local_only"
    assert [item["sentence"] for item in body["guide"]] == ["wait"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected the folder of one RUN, or --try"),
        (["a", "b"], "expected the folder of one RUN, or --try"),
        (["--users", "5", "a"], "--users: belongs to --try"),
        (["--try", "a"], "a: --try measures by itself"),
        (["--try", "--arm", "hybrid"], "--arm: belongs to a RUN"),
        (["--try", "--candidates", "slots=x"], "--candidates slots=x: expected"),
        (["--try", "--target", "http://h:11434"], "needs the embedded engine"),
        (["--try", "--write", "/no/such/folder/t.yaml"], "is no folder"),
    ],
)
def test_what_is_refused(arguments: list[str], message: str) -> None:
    done = RUNNER.invoke(app, ["tune", *arguments])
    assert isinstance(done.exception, UserError)
    assert message in str(done.exception)


def test_the_name_of_the_run_is_written_as_it_is(tmp_path: Path) -> None:
    run_dir = runs.write(tmp_path / "r", runs.three_arms(n=60))
    name = json.loads((run_dir / "run.json").read_text("utf-8"))["run_id"]
    assert name != name.lower()
    RUNNER.invoke(app, ["tune", str(run_dir), "--out", str(tmp_path)])
    first = (tmp_path / "advice.md").read_text("utf-8").splitlines()[0]
    assert first.startswith(f"# What to change after {name} (")
