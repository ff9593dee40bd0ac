"""A run never overwrites anything, and an unusable folder is one clear line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from firsttoken.core.errors import UserError
from firsttoken.trials import run_folder


def test_a_run_is_named_by_time_and_scenario() -> None:
    moment = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)
    assert run_folder.new_run_id("steps", moment) == "20260131T235959Z-steps"


def test_out_names_the_folder_itself(tmp_path: Path) -> None:
    assert run_folder.create(tmp_path / "a" / "b", "id") == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()
    assert not list((tmp_path / "a" / "b").iterdir())


def test_without_out_it_is_below_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_folder.create(None, "id") == Path("runs/id")


def test_a_folder_with_files_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UserError, match="is not empty"):
        run_folder.create(tmp_path, "id")
    assert (tmp_path / "run.json").read_text() == "{}"


@pytest.mark.parametrize("out", ["/dev/null/x", "/proc/x", "/dev/full"])
def test_an_unwritable_folder_is_refused(out: str) -> None:
    with pytest.raises(UserError, match=f"cannot write the run to {out}"):
        run_folder.create(Path(out), "id")
