"""docs/xiaozhi.md and its Chinese twin: every block of settings is read, every line of it tried."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from firsttoken.core.catalogue import CATALOGUE
from firsttoken.core.settings import load
from firsttoken.core.settings.voice import Compact, Prefix, Voice
from firsttoken.trials.voice_device import Device, Kind, Provider
from router.account import DecisionRecord
from router.backends.requests import ReplyOptions
from tests.deploy.compose import OURS, ROOT, XIAOZHI, read, services
from tests.router.conftest import Start, start
from tests.router.upstream import answer

__all__ = ["start"]

PAGES = (ROOT / "docs" / "xiaozhi.md", ROOT / "docs" / "xiaozhi.zh-CN.md")
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
KNOWN = {"type", "base_url", "model_name", "api_key", "max_tokens", "temperature", "timeout"}


def blocks(name: str, title: str) -> list[dict[str, Any]]:
    """Return the YAML blocks whose first line names the file ``title``."""
    found = re.findall(r"(?ms)^```yaml\n(# .*?)^```", TEXTS[name])
    chosen = [block for block in found if block.startswith(f"# {title}")]
    return [YAML(typ="safe").load(block) for block in chosen]


def providers(name: str) -> list[dict[str, Any]]:
    """Return the models of its settings that the page shows, the chosen ones alone."""
    shown = [block for block in blocks(name, "data/.config.yaml") if "Memory" not in block]
    for block in shown:
        assert list(block["LLM"]) == [block["selected_module"]["LLM"]]
    return [next(iter(block["LLM"].values())) for block in shown]


def of_other_modules(name: str) -> dict[str, Any]:
    """Return the block of settings for memory and intents."""
    (block,) = [each for each in blocks(name, "data/.config.yaml") if "Memory" in each]
    return block


@pytest.mark.parametrize("name", TEXTS)
def test_every_block_is_of_a_file_that_is_read_here(name: str) -> None:
    titles = ("data/.config.yaml", "config/hybrid.yaml", "docker-compose.override.yml")
    count = sum(len(blocks(name, title)) for title in titles)
    assert count == TEXTS[name].count("```yaml") == 6


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("name", TEXTS)
async def test_both_providers_take_a_turn_through_the_router(
    start: Start, name: str, kind: Kind
) -> None:
    """Each line of the page goes to the official client as the provider hands it on."""
    options = {"local": ReplyOptions()}  # no smaller limit than the page's
    router = await start(local=answer("😊", "好的。"), options=options)
    (shown,) = [each for each in providers(name) if each["type"] == kind]
    assert set(shown) <= KNOWN
    address = re.sub(r"^http://[^/]+", router.url, shown["base_url"])
    # The type ollama shows no key: it is no use to our Compose file's router, which wants one.
    assert ("//router:" in shown["base_url"]) == ("api_key" in shown)
    more: dict[str, Any] = {}
    more |= {key: shown[key] for key in ("max_tokens", "temperature") if key in shown}
    named = {key: shown[key] for key in ("api_key", "model_name", "timeout") if key in shown}
    device = Device(Provider(kind, address, more=more, **named), tools=True)
    try:
        heard = await asyncio.to_thread(device.say, "讲个故事吧")
    finally:
        device.close()
    assert (heard.error, heard.spoken) == (None, "😊好的。")
    body = router.local.calls[0].body
    assert {key: body[key] for key in more} == more
    if kind is Kind.OPENAI:
        assert set(shown) == KNOWN
        assert device.client.timeout.read == 15  # type: ignore[union-attr]
        assert "你" not in shown["api_key"]


@pytest.mark.parametrize("name", TEXTS)
def test_other_modules_use_models_that_are_shown(name: str) -> None:
    block = of_other_modules(name)
    talking = [each["selected_module"]["LLM"] for each in blocks(name, "data/.config.yaml")[:1]]
    assert list(block["Memory"]) == [block["selected_module"]["Memory"]]
    for section, known in (("Memory", list(block["LLM"])), ("Intent", talking)):
        for key, module in block[section].items():
            assert module == {"type": key, "llm": known[0]}
    # The other choice of an intent is named beside the one that is made.
    assert all(f"or {key}" in TEXTS[name] or f"或 {key}" in TEXTS[name] for key in block["Intent"])


@pytest.mark.parametrize("name", TEXTS)
def test_a_summary_is_asked_for_with_patience(name: str) -> None:
    (memory,) = of_other_modules(name)["LLM"].values()
    (talker,) = [each for each in providers(name) if each["type"] == memory["type"]]
    assert set(memory) <= KNOWN
    assert memory["timeout"] == 300 > talker["timeout"]["read"]
    same = ("base_url", "model_name", "api_key")
    assert [memory[key] for key in same] == [talker[key] for key in same]


@pytest.mark.parametrize("name", TEXTS)
def test_our_settings_load_and_each_key_is_told_of(name: str, tmp_path: Path) -> None:
    shown = blocks(name, "config/hybrid.yaml")
    for number, block in enumerate(shown):
        path = tmp_path / f"{number}.yaml"
        with path.open("w", encoding="utf-8") as file:
            YAML().dump(block, file)
        load([ROOT / "config/hybrid.yaml", path], {})
    (context,) = [each["local_optimization"] for each in shown if "voice" not in each]
    assert context["model_loading"]["num_ctx"] >= 5120
    (voice,) = [each["voice"] for each in shown if "voice" in each]
    assert Voice.model_validate(voice) == Voice()
    assert set(voice) == set(Voice.model_fields)
    assert set(voice["prefix"]) == set(Prefix.model_fields)
    assert set(voice["compact"]) == set(Compact.model_fields)
    told = set(re.findall(r"(?m)`([a-z_.]+)`", TEXTS[name].partition("| `clients` |")[2]))
    keys = {"clients", *(key for key in voice if key not in {"prefix", "compact"})}
    keys |= {f"prefix.{key}" for key in voice["prefix"]}
    keys |= {f"compact.{key}" for key in voice["compact"]}
    assert keys <= told | {"clients"}


@pytest.mark.parametrize("name", TEXTS)
def test_the_override_and_the_addresses_are_those_of_the_compose_files(name: str) -> None:
    (override,) = blocks(name, "docker-compose.override.yml")
    assert set(override["services"]) == set(services(read(XIAOZHI)))
    ours = services(read(OURS))
    assert "router" in ours
    published = {port.rpartition(":")[2] for port in ours["router"]["ports"]}
    assert published == {"8080"}
    every = " ".join(str(port) for each in ours.values() for port in each.get("ports", ()))
    for port in ("8080", "11434", "9090", "9093", "3000"):
        assert port in every
        assert port in TEXTS[name]


@pytest.mark.parametrize("name", TEXTS)
def test_what_the_page_names_exists(name: str) -> None:
    text = TEXTS[name]
    metrics = set(re.findall(r"`(llm_[a-z_]+)`", text))
    assert metrics
    assert metrics <= set(CATALOGUE)
    for column in ("call", "ttfs_ms", "retries"):
        assert f"`{column}`" in text
        assert column in DecisionRecord.__dataclass_fields__
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert (ROOT / "docs" / target).exists(), target
    assert "evidence/fault-matrix.md" in text


def test_both_pages_show_the_same_settings() -> None:
    english, chinese = (
        re.sub(r"[ \t]*#.*", "", "\n".join(re.findall(r"(?ms)^```yaml\n(.*?)^```", text)))
        for text in TEXTS.values()
    )
    assert english == chinese


@pytest.mark.parametrize("name", TEXTS)
def test_other_pages_lead_here(name: str) -> None:
    ending = name.removeprefix("xiaozhi")
    for page in (f"README{ending}", f"docs/deploy{ending}"):
        text = (ROOT / page).read_text(encoding="utf-8")
        prefix = "docs/" if page.startswith("README") else ""
        assert re.search(rf"\]\({prefix}{re.escape(name)}(#[^)]*)?\)", text), page


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_readme_shows_the_model_of_the_page(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [YAML(typ="safe").load(each) for each in re.findall(r"(?ms)^```yaml\n(.*?)^```", text)]
    (shown,) = [each for each in found if "LLM" in each]
    (model,) = shown["LLM"].values()
    assert list(shown["LLM"]) == [shown["selected_module"]["LLM"]]
    (full,) = [each for each in providers(PAGES[0].name) if each["type"] == model["type"]]
    assert model.items() <= full.items()
