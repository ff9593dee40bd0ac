"""Figures as bytes: PNG files, and SVG that follows the light or dark theme of the page."""

from __future__ import annotations

import base64
import io
import re
from urllib.parse import quote

from matplotlib.figure import Figure

from reports import style

PNG_DPI = 150


def png(figure: Figure) -> bytes:
    """Return the figure as PNG on white."""
    out = io.BytesIO()
    with style.applied():
        figure.savefig(out, format="png", dpi=PNG_DPI, facecolor="#ffffff")
    return out.getvalue()


def svg(figure: Figure) -> bytes:
    """Return the figure as SVG without background, whose ink follows ``prefers-color-scheme``."""
    out = io.StringIO()
    with style.applied():
        # Without a date the same records give the same bytes.
        figure.savefig(out, format="svg", dpi=PNG_DPI, transparent=True, metadata={"Date": None})
    drawing = _shorter(out.getvalue())
    light, dark = [], []
    for number, (colour, in_the_dark) in enumerate(style.DARK_THEME.items()):
        drawing = drawing.replace(colour, f"var(--c{number})")
        light.append(f"--c{number}:{colour}")
        dark.append(f"--c{number}:{in_the_dark}")
    rules = (
        f":root{{{';'.join(light)}}}"
        f"@media (prefers-color-scheme: dark){{:root{{{';'.join(dark)}}}}}"
        f"@media print{{:root{{{';'.join(light)}}}}}"
    )
    start = drawing.index("<defs>")
    return f"{drawing[:start]}<style>{rules}</style>{drawing[start:]}".encode()


_PATH = re.compile(r'(?<= d=")[^"]+')
_LONG = re.compile(r"(\.\d\d)\d+")


def _shorter(drawing: str) -> str:
    """Return the drawing with paths rounded to a hundredth of a point, which nobody can see."""
    return _PATH.sub(lambda path: _LONG.sub(r"\1", path[0]), drawing)


def data_uri(content: bytes, kind: str) -> str:
    """Return ``content`` as an address that needs no network."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def text_uri(drawing: bytes) -> str:
    """Return an SVG as an address that needs no network, a quarter shorter than in base64. It holds
    spaces: it may stand in ``src``, not in ``srcset``."""
    plain = " ".join(drawing.decode().split())
    return f"data:image/svg+xml,{quote(plain, safe=_PLAIN)}"


_PLAIN = " !$&'()*+,-./:;<=>?@[]^_`{|}~"
"""Of what an address in an attribute may hold as it is: neither ``"``, nor ``#``, nor ``%``."""
