"""docs/deploy.md and its Chinese twin: figures as computed, commands and settings that are true."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from firsttoken.core.settings import load
from firsttoken.core.slo import load as load_slo
from firsttoken.engines import gguf, memory, options
from tests.deploy import sizing
from tests.deploy.compose import OURS, ROOT, XIAOZHI, read, services

PAGES = (ROOT / "docs" / "deploy.md", ROOT / "docs" / "deploy.zh-CN.md")
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
BIN = Path(sys.executable).parent


def table(text: str, name: str) -> list[tuple[str, ...]]:
    rows = text.partition(f"<!-- {name} -->\n")[2].partition("\n\n")[0].splitlines()[2:]
    return [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in rows]


def blocks(text: str, language: str) -> list[str]:
    found = re.findall(rf"(?ms)^( *)```{language}\n(.*?)^ *```", text)
    return [re.sub(rf"(?m)^{indent}", "", block) for indent, block in found]


@pytest.mark.parametrize("name", TEXTS)
def test_sizing_tables_are_what_the_formula_gives(name: str) -> None:
    assert table(TEXTS[name], "models") == sizing.table_of_models()
    assert table(TEXTS[name], "limits") == sizing.table_of_limits()
    assert f"{sizing.QWEN2_1_5B.kv_bytes():,}" in TEXTS[name]
    for slots in (6, 24):
        total = sizing.QWEN2_1_5B.total(slots, 2048)
        assert f"{round(total / sizing.MIB):,} MiB" in TEXTS[name]


def test_formula_is_the_one_of_the_doctor_and_the_embedded_engine() -> None:
    checked = options.check(options.from_settings(load([])))
    header = gguf.read_model(checked.options.model)
    small = next(each for each in sizing.MODELS if each.name.startswith("SmolLM2"))
    assert memory.kv_bytes_per_token(header) == small.kv_bytes()
    weights = header.data_end - header.data_start
    assert weights / 10**6 == pytest.approx(small.weights_mb, rel=0.03)
    assert load_slo().memory_share == sizing.HELD_AT_MOST


def test_compose_gives_as_many_slots_as_the_table_allows() -> None:
    engine = services(read(OURS))["local-llm"]
    limit = int(engine["deploy"]["resources"]["limits"]["memory"].removesuffix("G")) << 30
    told = engine["environment"]
    fit = sizing.QWEN2_1_5B.slots(limit, int(told["OLLAMA_CONTEXT_LENGTH"]))
    assert int(told["OLLAMA_NUM_PARALLEL"]) == fit
    # What the page says of 20 talkers.
    assert sizing.QWEN2_1_5B.slots(3 << 30, 2048) >= 20


@pytest.mark.parametrize("name", TEXTS)
def test_commands_of_ours_exist_with_their_options(name: str) -> None:
    seen: set[tuple[str, ...]] = set()
    for block in blocks(TEXTS[name], "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if ".venv/bin/firsttoken" not in words:
                continue
            verb, *rest = words[words.index(".venv/bin/firsttoken") + 1 :]
            verbs = [verb, rest[0]] if verb == "config" else [verb]
            seen.update((*verbs, word) for word in rest if word.startswith("--"))
    assert len({each[0] for each in seen}) >= 4
    for words_of in sorted({each[:-1] for each in seen}):
        done = subprocess.run(
            [BIN / "firsttoken", *words_of, "--help"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        for each in seen:
            assert each[:-1] != words_of or each[-1] in done.stdout, each


@pytest.mark.parametrize("name", TEXTS)
def test_settings_in_the_page_load_over_the_shipped_ones(name: str, tmp_path: Path) -> None:
    settings = [block for block in blocks(TEXTS[name], "yaml") if "llm_routing" in block]
    assert len(settings) == 2
    for block in settings:
        path = tmp_path / "own.yaml"
        path.write_text(block)
        load([ROOT / "config/hybrid.yaml", path], {})


@pytest.mark.parametrize("name", TEXTS)
def test_what_the_page_names_exists(name: str) -> None:
    text = TEXTS[name]
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert (ROOT / "docs" / target).exists(), target
    for path in re.findall(r"`((?:config|dashboards|docs)/[^`*]+?)`", text):
        assert (ROOT / path).exists(), path
    known = set(re.findall(r"\$\{([A-Z_]+)", OURS.read_text() + XIAOZHI.read_text()))
    section = text.partition("`.env`")[2].partition("\n- ")[0]
    named = set(re.findall(r"`([A-Z_]{5,})", section))
    assert named <= known
    assert known - named <= {"FIRSTTOKEN_DIR", "FIRSTTOKEN_PORT", "LOCAL_LLM_PORT"}


def test_both_pages_show_the_same_commands() -> None:
    english, chinese = (
        [re.sub(r"\s*#.*", "", block) for block in blocks(text, "sh")] for text in TEXTS.values()
    )
    assert english == chinese
