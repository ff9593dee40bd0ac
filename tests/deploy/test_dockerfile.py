"""The Dockerfile, line by line, and the lock it installs from: tests have no Docker to build it."""

from __future__ import annotations

import re
import tomllib

from tests.deploy.compose import ROOT

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LINES = [
    line
    for line in re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", TEXT)).splitlines()
    if line.strip()
]
STAGES = [line for line in LINES if line.startswith("FROM ")]
PINNED = re.compile(r"(?m)^([a-z0-9][a-z0-9._-]*)==(\S+)")


def last(instruction: str) -> str:
    return next(line for line in reversed(LINES) if line.startswith(f"{instruction} "))


def name_of(requirement: str) -> str:
    return re.split(r"[<>=]", requirement)[0].replace(".", "-")


def locked(name: str) -> dict[str, str]:
    """Return the packages of a lock: all text of each, version and hashes, by name."""
    parts = re.split(r"(?m)^(?=[a-z0-9])", (ROOT / name).read_text(encoding="utf-8"))
    found = ((PINNED.match(part), part) for part in parts)
    return {match[1]: part for match, part in found if match}


def test_does_not_run_as_root() -> None:
    user = last("USER").split()[1]
    assert re.fullmatch(r"[1-9][0-9]{3,}:[1-9][0-9]{3,}", user), "a number, that Kubernetes checks"
    assert LINES.index(last("USER")) > LINES.index(last("RUN")), "nothing is installed by that user"


def test_base_is_pinned_and_the_same_in_every_stage() -> None:
    assert re.search(r"ARG PYTHON_IMAGE=python:3\.\d+\.\d+-slim-[a-z]+$", TEXT, re.MULTILINE)
    assert len(STAGES) == 3
    assert all("${PYTHON_IMAGE}" in stage for stage in STAGES)


def test_everything_copied_exists_and_is_let_in() -> None:
    allowed = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = [line.split()[1:-1] for line in LINES if line.startswith("COPY ")]
    names = [each for line in copied if "--from" not in line[0] for each in line]
    for name in names:
        assert (ROOT / name).exists(), name
        assert name.split("/")[0] in allowed, name
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for package in packages["packages"]["find"]["include"]:
        assert package.rstrip("*") in names
    assert not any(name in {".", "secrets", "models"} for name in names)


def test_installs_only_what_is_locked() -> None:
    installs = re.findall(r"pip (?:install|wheel) [^&\n]+", "\n".join(LINES))
    assert len(installs) == 4
    for each in installs:
        assert "--no-deps" in each
        assert "--require-hashes" in each or "--no-index" in each or "--no-build-isolation" in each
    assert "curl" not in TEXT
    assert "ADD " not in TEXT
    assert "rm -rf /var/lib/apt/lists" in TEXT


def test_runs_the_program_and_checks_its_health() -> None:
    assert last("ENTRYPOINT") == 'ENTRYPOINT ["firsttoken"]'
    assert last("CMD") == 'CMD ["serve"]'
    assert "/healthz" in next(line for line in LINES if line.startswith("HEALTHCHECK"))


def test_no_secret_is_built_in() -> None:
    assert not re.search(r"(?i)\b(ARG|ENV) +\w*(KEY|TOKEN|SECRET|PASSWORD)", TEXT)


def test_runtime_lock_is_the_part_of_the_lock_that_runs() -> None:
    everything, run = locked("requirements.lock"), locked("requirements-run.lock")
    for name, text in run.items():
        assert everything[name] == text, name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {name_of(each) for each in project["project"]["dependencies"]}
    tools = {name_of(each) for each in project["dependency-groups"]["dev"]}
    assert wanted <= run.keys()
    assert tools & run.keys() <= {"pytest"}, "Locust itself needs pytest"
    assert all("--hash=sha256:" in text for text in run.values())


def test_build_tool_is_found_in_the_lock() -> None:
    # What the awk program of the Dockerfile cuts out.
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("setuptools=="))
    end = next(i for i in range(begin, len(lines)) if not lines[i].endswith("\\"))
    assert "--hash=sha256:" in lines[end]
    assert "/^setuptools==/" in TEXT
