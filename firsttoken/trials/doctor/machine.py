"""Facts of this machine: memory, cores, disk, packages, programs, ports, a model's file."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import psutil

from exporter.engine_cpu import listener
from firsttoken.core import host
from firsttoken.core.errors import UserError
from firsttoken.core.settings import Settings
from firsttoken.engines import gguf, options
from firsttoken.trials.doctor.facts import Machine, ModelFile, Package, Port

_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)\s*(?:>=\s*([0-9.]+))?")
_CHUNK = 4 << 20


def look(settings: Settings | None, folder: Path) -> Machine:
    """Return what this machine says of itself; ``folder`` is where models lie or would."""
    try:
        disk_free = shutil.disk_usage(folder).free
    except OSError:
        disk_free = None
    return Machine(
        load=os.getloadavg()[0],
        available=host.memory_available(),
        cores=host.cpu_quota(),
        folder=str(folder),
        disk_free=disk_free,
        packages=tuple(_packages()),
        programs=tuple(_programs()),
        ports=tuple(_ports(settings)) if settings is not None else (),
    )


def _packages() -> Iterator[Package]:
    try:
        needed = importlib.metadata.requires("firsttoken") or []
    except importlib.metadata.PackageNotFoundError:
        return  # run from a folder that nobody installed
    for line in needed:
        name, wanted = re.match(_REQUIREMENT, line).groups()  # type: ignore[union-attr] # a name starts each
        if ";" not in line:  # what belongs to a platform or an extra may be missing
            yield Package(name, wanted or "", _installed(name))


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _programs() -> Iterator[str]:
    for program, name in (("ollama", "Ollama"), ("llama-server", "llama.cpp's server")):
        path = shutil.which(program)
        if path:
            yield f"{name} ({path})"
    for package, name in (("vllm", "vLLM"), ("xllamacpp", "llama.cpp (embedded, xllamacpp")):
        found = _installed(package)
        if found:
            yield f"{name} {found}" + (")" if "(" in name else "")


def _ports(settings: Settings) -> Iterator[Port]:
    wanted = [("server.port", settings.server.port), ("engine.port", settings.engine.port)]
    for key, number in wanted:
        if number:
            state, by = _held(number)
            yield Port(key, number, state, by)


def _held(number: int) -> tuple[Literal["free", "ours", "taken", "forbidden"], str]:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except PermissionError:
            return "forbidden", ""
        except OSError as error:
            pid = listener(number)
            if pid is None:
                return "taken", f"a program that cannot be looked into ({error.strerror})"
            return _owner(pid)
    return "free", ""


def _owner(pid: int) -> tuple[Literal["ours", "taken"], str]:
    try:
        process = psutil.Process(pid)
        words, name = " ".join(process.cmdline()), process.name()
    except psutil.Error:
        return "taken", f"process {pid}"
    ours = "firsttoken" in words or "-m router" in words
    return ("ours", f"firsttoken, process {pid}") if ours else ("taken", f"{name}, process {pid}")


def model_file(path: Path, wanted_sha256: str | None, deadline_s: float) -> ModelFile:
    """Read a model's header; compute its SHA-256 where there is one to compare with: the one that
    is given, or that of the package which the file came with.

    Args:
        path: of the file.
        wanted_sha256: in hexadecimal digits.
        deadline_s: of the monotonic clock, when computing is given up.
    """
    try:
        header = gguf.read_model(path)
        size = path.stat().st_size
        wanted, told = wanted_sha256, "--model-sha256"
        if wanted is None:
            wanted, told = _sha256_of_package(path), f"the package {options.MODEL_DISTRIBUTION}"
        found = _sha256(path, deadline_s) if wanted else None
    except UserError as error:
        return ModelFile(str(path), problem=str(error))
    except OSError as error:
        return ModelFile(str(path), problem=f"{path}: {error.strerror or error}")
    return ModelFile(str(path), size, header, "", found, wanted, told if wanted else "")


def _sha256(
    path: Path, deadline_s: float, now_s: Callable[[], float] = time.monotonic
) -> str | None:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            if now_s() > deadline_s:
                return None
    return digest.hexdigest()


def _sha256_of_package(path: Path) -> str | None:
    """Return what the record of the model's package has for this file."""
    try:
        files = importlib.metadata.files(options.MODEL_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        told = file.hash
        if told is not None and told.mode == "sha256" and file.name == path.name:
            if Path(str(file.locate())).resolve() != path.resolve():
                continue
            padding = "=" * (-len(told.value) % 4)
            return base64.urlsafe_b64decode(told.value + padding).hex()
    return None
