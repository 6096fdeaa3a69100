"""Charts of the report: altair specifications drawn to SVG on the spot, without a network or a clock."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import altair as alt
import vl_convert

from tasks.report.wording import escape

if TYPE_CHECKING:
    from tasks.report.section import About

INK = "#1d2733"
MUTED = "#566371"
RULE = "#c9d1d8"
PALE = "#aeb8c2"
BETTER = "#0b6e77"
WORSE = "#b4501e"
ACCENT = "#1f4e8c"
# Told apart in greyscale and by people who do not see red and green alike.
SERIES = ("#1f4e8c", "#b4501e", "#0b6e77", "#7a4a93", "#8a6d00", "#566371")
FONT = "Helvetica Neue, Helvetica, Arial, sans-serif"

# Drawn twice: a chart made for a desk has letters too small to read on a phone.
WIDE = 860
NARROW = 350

Drawing = alt.Chart | alt.LayerChart | alt.FacetChart | alt.HConcatChart | alt.VConcatChart
Draw = Callable[[int], Drawing]

_CONFIG: dict[str, Any] = {
    "aria": False,
    "background": "transparent",
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "domainColor": RULE,
        "gridColor": "#e6eaee",
        "tickColor": RULE,
        "labelColor": MUTED,
        "labelFontSize": 11,
        "titleColor": INK,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 10,
        "labelPadding": 5,
    },
    "legend": {
        "orient": "top",
        "title": None,
        "labelColor": INK,
        "labelFontSize": 12,
        "symbolSize": 70,
        "offset": 6,
        "labelLimit": 320,
        "columnPadding": 22,
        "symbolOpacity": 1,
    },
    "title": {"color": WORSE, "fontSize": 11, "fontWeight": "bold", "anchor": "end", "offset": 4},
}


def figure(name: str, draw: Draw, *, says: str, caption: str, about: About) -> str:
    """Draw a chart for a desk and for a phone, and wrap both in one figure with a caption.

    `says` is what a person who cannot see the chart is told instead.
    """
    wide, narrow = (
        svg(f"{name}-{css}", draw(width), about) for css, width in (("wide", WIDE), ("narrow", NARROW))
    )
    return framed(name, wide, narrow, says=says, caption=caption, about=about)


def framed(name: str, wide: str, narrow: str, *, says: str, caption: str, about: About) -> str:
    """Wrap the drawing for a desk and that for a phone in one figure with a caption."""
    drawn = [
        f'<div class="{css}" role="img" aria-label="{escape(says)}">{drawing}</div>'
        for css, drawing in (("wide", wide), ("narrow", narrow))
    ]
    tag = '<span class="tag simulated">Simulated data</span> ' if about.is_simulated else ""
    return (
        f'<figure class="chart" id="{name}">{"".join(drawn)}'
        f"<figcaption>{tag}{escape(caption)}</figcaption></figure>"
    )


def svg(name: str, chart: Drawing, about: About) -> str:
    """Return the chart as SVG that may share a page with others and is the same bytes each time."""
    # Inside the drawing as well: a figure is copied to a slide without its caption.
    titled = chart.properties(title="Simulated data") if about.is_simulated else chart
    # Checked again by the renderer; altair's own check takes a third of the time.
    drawn_as = titled.to_dict(validate=False)
    _refuse_absent_fields(drawn_as)
    # A chart that knows the room of its labels says so; any other fits into its width.
    spec = {"autosize": {"type": "fit", "contains": "padding"}} | drawn_as | {"config": _CONFIG}
    drawn: str = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    return _own_ids(name, _short(drawn)).replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def _refuse_absent_fields(spec: dict[str, Any]) -> None:
    """Raise for a field that no data of the chart has: it would be drawn all the same, and wrong."""
    rows = [dict(data[0]) if data else None for data in spec.get("datasets", {}).values()]
    if not all(rows):  # of data without rows nothing tells the columns
        return
    known = {column for row in rows if row for column in row}
    parts = list(_parts({key: value for key, value in spec.items() if key != "datasets"}))
    for part in parts:
        made = part.get("as", ())
        known |= {made} if isinstance(made, str) else {*made}
    for part in parts:
        field = part.get("field")
        if isinstance(field, str) and field.replace("\\", "") not in known:
            raise KeyError(field)


def _parts(spec: Any) -> Iterator[dict[str, Any]]:
    """Return every object within a specification, itself first."""
    if isinstance(spec, dict):
        yield spec
    for part in spec.values() if isinstance(spec, dict) else spec if isinstance(spec, list) else ():
        yield from _parts(part)


def _own_ids(name: str, drawn: str) -> str:
    # Vega counts its ids on through the life of the process.
    old = dict.fromkeys(re.findall(r'\bid="([^"]+)"', drawn))
    for position, identifier in enumerate(old):
        own = f"{name}-{position}"
        drawn = drawn.replace(f'id="{identifier}"', f'id="{own}"').replace(
            f"url(#{identifier})", f"url(#{own})"
        )
    return drawn


def _short(drawn: str) -> str:
    """Round coordinates to a hundredth of a pixel and drop what says nothing, within tags only."""
    drawn = re.sub(r' (?:aria-[a-z]+|role|pointer-events|xmlns:xlink|class|font-family)="[^"]*"', "", drawn)
    return re.sub(
        r"<[^>]+>",
        lambda tag: re.sub(
            r"-?\d+\.\d{3,}", lambda n: f"{float(n.group()):.2f}".rstrip("0").rstrip("."), tag.group()
        ),
        drawn,
    )
