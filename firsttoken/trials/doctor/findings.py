"""What the doctor finds: the guide's checklists, and a finding for each thing that was checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

_MOST_CHARACTERS = 1_000
"""Of what was found."""


class Level(StrEnum):
    """How a check ended."""

    OK = "OK"
    WARN = "WARN"
    """It works, but not as the guide asks; or it could not be checked."""
    FAIL = "FAIL"
    """It will not work, or it misses a target."""


class Checklist(StrEnum):
    """The guide's three lists."""

    BEFORE = "before"
    STEPS = "steps"
    AFTER = "after"


TITLES: dict[Checklist, str] = {
    Checklist.BEFORE: "Before deployment",
    Checklist.STEPS: "Deployment steps",
    Checklist.AFTER: "After deployment",
}


class Item(StrEnum):
    """One item of the lists: the list's name, and its number there; 0 is none of the guide's."""

    OURS = "before.0"
    MEMORY = "before.1"
    CORES = "before.2"
    MODEL_FILE = "before.3"
    NETWORK = "before.4"
    INSTALL = "steps.1"
    PULL = "steps.2"
    START = "steps.3"
    ROUTING = "steps.4"
    TEST = "steps.5"
    FAILOVER = "steps.6"
    MONITORING = "steps.7"
    RESPONSE = "after.1"
    MEMORY_SHARE = "after.2"
    ERRORS = "after.3"
    FAILOVER_WORKS = "after.4"
    METRICS = "after.5"

    @property
    def checklist(self) -> Checklist:
        """The list it is of."""
        return Checklist(self.partition(".")[0])

    @property
    def number(self) -> int:
        """Its place there, from 1; 0: not of the guide."""
        return int(self.partition(".")[2])


GUIDE: dict[Item, str] = {
    Item.OURS: "",
    Item.MEMORY: "确认可用内存 > 2GB",
    Item.CORES: "确认可用CPU > 2核",
    Item.MODEL_FILE: "下载模型文件 (约1.2GB)",
    Item.NETWORK: "配置网络访问权限",
    Item.INSTALL: "安装Ollama或vLLM",
    Item.PULL: "拉取Qwen2-1.5B模型",
    Item.START: "启动本地LLM服务",
    Item.ROUTING: "配置混合路由",
    Item.TEST: "测试本地模型响应",
    Item.FAILOVER: "配置故障转移",
    Item.MONITORING: "部署监控系统",
    Item.RESPONSE: "本地模型响应时间 < 400ms",
    Item.MEMORY_SHARE: "内存使用率 < 80%",
    Item.ERRORS: "错误率 < 2%",
    Item.FAILOVER_WORKS: "故障转移正常工作",
    Item.METRICS: "监控指标正常",
}
"""What the guide says, word for word."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    name: str
    item: Item
    level: Level
    found: str
    """One sentence with figures and units."""
    fix: str = ""
    """What to do; empty where nothing is to be done."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "checklist": str(self.item.checklist),
            "number": self.item.number or None,
            "guide": GUIDE[self.item] or None,
            **asdict(self),
            "item": str(self.item),
        }


def ok(name: str, item: Item, found: str) -> Finding:
    """Return a finding with which all is well."""
    return Finding(name, item, Level.OK, found)


def warn(name: str, item: Item, found: str, fix: str) -> Finding:
    """Return a finding that is worth a look."""
    return Finding(name, item, Level.WARN, found, fix)


def fail(name: str, item: Item, found: str, fix: str) -> Finding:
    """Return a finding that has to be put right."""
    return Finding(name, item, Level.FAIL, found, fix)


def without(secrets: Iterable[str], finding: Finding) -> Finding:
    """Return the finding with every secret blanked, and cut to a readable length: servers may
    repeat the key they refuse.

    The longest secret goes first, since it may hold a shorter one; the text is cut last, since half
    a secret would not be known for one.
    """
    found, fix = finding.found, finding.fix
    for secret in sorted(secrets, key=len, reverse=True):
        found, fix = found.replace(secret, "***"), fix.replace(secret, "***")
    if len(found) > _MOST_CHARACTERS:
        found = found[: _MOST_CHARACTERS - 1] + "…"
    return replace(finding, found=found, fix=fix)


def worst(findings: Iterable[Finding]) -> Level:
    """Return the worst level among ``findings``; OK where there are none."""
    order = (Level.FAIL, Level.WARN, Level.OK)
    return min((each.level for each in findings), key=order.index, default=Level.OK)


def gib(count: float) -> str:
    """Return an amount of memory as people read it."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def counted(count: int, what: str) -> str:
    """Return a number of things, such as ``1 question``."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def ms(milliseconds: float) -> str:
    """Return a time as people read it."""
    return f"{milliseconds:,.0f} ms"
