"""Opens a page of ours in a real Chromium: pictures of it, and what it asked for and overflowed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from firsttoken.core.errors import UserError

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 60
PHONE = (360, 740)
DESKTOP = (1280, 800)

QUIET = (
    "--headless",
    # Needed where it runs as root, such as in a container; it opens nothing but our own file.
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    # Whatever is asked for all the same is refused.
    "--proxy-server=127.0.0.1:9",
    "--proxy-bypass-list=<-loopback>",
)

_PROBE = """
<script>
const faults = [];
addEventListener("error", event => faults.push(String(event.message)), true);
addEventListener("load", () => {
  const root = document.documentElement, inside = root.clientWidth;
  const wide = [...document.querySelectorAll("body *")].filter(each =>
    !each.closest(".wide") && each.getBoundingClientRect().right > inside + 1);
  const blank = [...document.images].filter(image => !image.naturalWidth).length;
  parent.postMessage(JSON.stringify({width: inside, scrolled: root.scrollWidth,
    wide: wide.slice(0, 5).map(each => each.outerHTML.slice(0, 80)), blank, faults}), "*");
});
</script>
"""

_FRAME = """<!doctype html><style>body{{margin:0}}iframe{{border:0;display:block}}</style>
<iframe src="{file}" width="{width}" height="{height}"></iframe><pre id="told">nothing</pre>
<script>addEventListener("message", event => {{
  document.getElementById("told").textContent = event.data; }});</script>"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a page did at one width."""

    width: int
    scrolled: int
    """How wide its content is; more than ``width``: the page scrolls sideways."""
    wide: list[str]
    """Elements that stand out of it, outside the tables that scroll."""
    blank: int
    """Pictures that did not show."""
    faults: list[str]


def program() -> str:
    """Return the browser's program.

    Raises:
        UserError: there is none.
    """
    for name in PROGRAMS:
        found = shutil.which(name)
        if found:
            return found
    raise UserError(f"no browser found: install one of {', '.join(PROGRAMS)}")


def _open(page: Path, *arguments: str) -> str:
    """Open a page, return what the browser wrote to its standard output.

    Raises:
        UserError: it failed, or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="firsttoken-browser-") as profile:
        command = [
            program(),
            *QUIET,
            f"--user-data-dir={profile}",
            *arguments,
            page.resolve().as_uri(),
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=SECONDS, check=True
            )
        except (subprocess.SubprocessError, OSError) as error:
            raise UserError(f"{command[0]} could not open {page}: {error}") from error
        return done.stdout


def picture(page: Path, out: Path, size: tuple[int, int]) -> Path:
    """Write a picture of the top of a page at a size in pixels; return ``out``."""
    with tempfile.TemporaryDirectory(prefix="firsttoken-frame-") as folder:
        frame = Path(folder) / "frame.html"
        # A window has a least width; a frame has none.
        frame.write_text(_FRAME.format(file=page.resolve().as_uri(), width=size[0], height=size[1]))
        wide = max(size[0], 500)
        _open(frame, f"--screenshot={out.resolve()}", f"--window-size={wide},{size[1]}")
    with Image.open(out) as whole:
        cut = whole.convert("RGB").crop((0, 0, *size)).quantize(128)
    cut.save(out, optimize=True)
    return out


def printed(page: Path, out: Path) -> Path:
    """Print a page to PDF; return ``out``."""
    _open(page, f"--print-to-pdf={out.resolve()}", "--no-pdf-header-footer")
    return out


def seen(page: Path, width: int) -> Seen:
    """Return what a page did at a width in pixels.

    A copy of it is opened, without its policy (which forbids scripts) and with a script that looks.

    Raises:
        UserError: the page told nothing.
    """
    text = page.read_text(encoding="utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', _PROBE, text, count=1)
    with tempfile.TemporaryDirectory(prefix="firsttoken-frame-") as folder:
        copy, frame = Path(folder) / "copy.html", Path(folder) / "frame.html"
        copy.write_text(text, encoding="utf-8")
        frame.write_text(_FRAME.format(file=copy.as_uri(), width=width, height=PHONE[1]))
        dom = _open(frame, "--dump-dom", "--virtual-time-budget=8000")
    told = re.search(r'<pre id="told">(\{.*?\})</pre>', dom, re.DOTALL)
    if told is None:
        raise UserError(f"{page} told nothing of how it looks")
    plain = told[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return Seen(**json.loads(plain))


def asked(page: Path) -> list[str]:
    """Return the hosts that a page, with its policy, asked for over the network.

    A browser asks its maker's servers by itself; the hosts that it asks with an empty page open are
    not counted.
    """
    with tempfile.TemporaryDirectory(prefix="firsttoken-empty-") as folder:
        empty = Path(folder) / "empty.html"
        empty.write_text("<!doctype html><title>empty</title>")
        own = _hosts(empty)
    return sorted(_hosts(page) - own)


def _hosts(page: Path) -> set[str]:
    with tempfile.TemporaryDirectory(prefix="firsttoken-netlog-") as folder:
        log = Path(folder) / "net.json"
        _open(page, f"--log-net-log={log}", "--dump-dom", "--virtual-time-budget=8000")
        events = log.read_text(encoding="utf-8", errors="replace")
    return set(re.findall(r'"url":"(?:https?|wss?|ftp)://([^/"]+)', events))
