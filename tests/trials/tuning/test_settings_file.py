"""The settings file with what won."""

from __future__ import annotations

from pathlib import Path

import pytest

from firsttoken.core import settings as settings_room
from firsttoken.core.errors import UserError
from firsttoken.trials.tuning import settings_file

SETTINGS = settings_room.load(None, environ={})


def test_written_settings_load_and_keep_the_rest(tmp_path: Path) -> None:
    target = tmp_path / "tuned.yaml"
    settings_file.write_settings(None, (("engine.slots", 16), ("engine.threads", 1)), target)
    loaded = settings_room.load([target], environ={})
    assert (loaded.engine.slots, loaded.engine.threads) == (16, 1)
    assert loaded.tuning_recommendations == SETTINGS.tuning_recommendations
    assert "# answers made at once" in target.read_text("utf-8")
    with pytest.raises(UserError, match="it exists"):
        settings_file.write_settings(None, (("engine.slots", 8),), target)
    assert settings_room.load([target], environ={}).engine.slots == 16
    settings_file.write_settings(target, (("engine.slots", 8),), target, overwrite=True)
    assert settings_room.load([target], environ={}).engine.slots == 8


def test_a_file_without_the_section_gets_it(tmp_path: Path) -> None:
    base = tmp_path / "mine.yaml"
    base.write_text("server:\n  port: 8081  # ours\n", "utf-8")
    target = settings_file.write_settings(base, (("engine.slots", 12),), tmp_path / "tuned.yaml")
    assert "# ours" in target.read_text("utf-8")
    assert settings_room.load([target], environ={}).engine.slots == 12


def test_a_section_that_stands_there_empty_is_filled(tmp_path: Path) -> None:
    base = tmp_path / "mine.yaml"
    base.write_text("engine:\nserver:\n  port: 8081\n", "utf-8")
    target = settings_file.write_settings(base, (("engine.slots", 12),), tmp_path / "tuned.yaml")
    assert settings_room.load([target], environ={}).engine.slots == 12


def test_a_folder_that_is_none_is_refused_before_measuring(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        settings_file.check_target(tmp_path / "no" / "tuned.yaml", overwrite=False)
