"""The colours by which modules are known, as a browser shows them; beside the number, never instead of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.report.tables import Column
from tasks.report.wording import escape, integer

if TYPE_CHECKING:
    from collections.abc import Mapping

# The names are R's: some have no meaning in a browser, and green and purple have another.
_SHOWN = {
    "grey": "#bebebe",
    "turquoise": "#40e0d0",
    "blue": "#0000ff",
    "brown": "#a52a2a",
    "yellow": "#ffff00",
    "green": "#00ff00",
    "red": "#ff0000",
    "black": "#000000",
    "pink": "#ffc0cb",
    "magenta": "#ff00ff",
    "purple": "#a020f0",
    "greenyellow": "#adff2f",
    "tan": "#d2b48c",
    "salmon": "#fa8072",
    "cyan": "#00ffff",
    "midnightblue": "#191970",
    "lightcyan": "#e0ffff",
    "grey60": "#999999",
    "lightgreen": "#90ee90",
    "lightyellow": "#ffffe0",
    "royalblue": "#4169e1",
    "darkred": "#8b0000",
    "darkgreen": "#006400",
    "darkturquoise": "#00ced1",
    "darkgrey": "#a9a9a9",
    "orange": "#ffa500",
    "darkorange": "#ff8c00",
    "white": "#ffffff",
    "skyblue": "#87ceeb",
    "saddlebrown": "#8b4513",
    "steelblue": "#4682b4",
    "paleturquoise": "#afeeee",
    "violet": "#ee82ee",
    "darkolivegreen": "#556b2f",
    "darkmagenta": "#8b008b",
    "sienna3": "#cd6839",
    "yellowgreen": "#9acd32",
    "skyblue3": "#6ca6cd",
    "plum1": "#ffbbff",
    "orangered4": "#8b2500",
    "mediumpurple3": "#8968cd",
}


def named(row: Mapping[str, Any]) -> str:
    """Return `3 brown`: beyond the forty colours the number is the whole name."""
    number, colour = integer(row["module"]), str(row["colour"] or "")
    return f"{number} {colour}" if colour in _SHOWN else number


def marked(row: Mapping[str, Any]) -> str:
    """Return the module's name as markup behind a field of its colour."""
    shown = _SHOWN.get(str(row["colour"]))
    field = f'<span class="swatch" style="background:{shown}" aria-hidden="true"></span>' if shown else ""
    return f'<span class="module">{field}{escape(named(row))}</span>'


MODULE = Column("Module", marked, is_markup=True)
