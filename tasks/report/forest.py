"""A forest plot: estimates with their intervals, one below the other, on one scale."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import altair as alt
import polars as pl

from tasks.report.charts import ACCENT, INK, MUTED, NARROW, Drawing, figure
from tasks.report.wording import count, interval, number, p_value_in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.report.section import About

_LETTER_WIDTH = 6.6
MOST_ROOM = 360
_LETTERS_OF_A_LABEL = 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One row of the plot; `is_primary` sets it apart from those beside it."""

    label: str
    estimate: float
    low: float | None
    high: float | None
    p_value: float | None = None
    is_primary: bool = False


def forest(
    name: str, effects: Sequence[Effect], *, axis: str, caption: str, about: About, null: float = 0.0
) -> str:
    """Draw the effects in their order, with no effect as a line; on a desk the numbers stand beside them."""
    if not effects:
        return ""
    data = pl.DataFrame(
        {
            "place": [str(place) for place in range(len(effects))],
            "label": [effect.label for effect in effects],
            "estimate": [effect.estimate for effect in effects],
            "low": [effect.estimate if effect.low is None else effect.low for effect in effects],
            "high": [effect.estimate if effect.high is None else effect.high for effect in effects],
            "numbers": [_numbers(effect) for effect in effects],
            "is_primary": [effect.is_primary for effect in effects],
        },
        schema_overrides={"estimate": pl.Float64, "low": pl.Float64, "high": pl.Float64},
    )
    told = "; ".join(f"{effect.label}: {_numbers(effect)}" for effect in effects)
    says = f"Forest plot of {count(len(effects), 'estimate')}. {axis}. {told}."
    return figure(name, lambda width: _draw(data, axis, null, width), says=says, caption=caption, about=about)


def _numbers(effect: Effect) -> str:
    limits = interval(effect.low, effect.high, 2)
    p = "" if effect.p_value is None else f", {p_value_in_words(effect.p_value).partition(' (')[0]}"
    return f"{number(effect.estimate, 2)} ({limits}){p}"


def _draw(data: pl.DataFrame, axis: str, null: float, width: int) -> Drawing:
    is_wide = width != NARROW
    low = min(float(data["low"].min()), null)  # type: ignore[arg-type]
    high = max(float(data["high"].max()), null)  # type: ignore[arg-type]
    room = 0.05 * (high - low or 1.0)
    # On a phone the unit takes a line of its own.
    title = [axis] if is_wide else axis.replace(" (", "\n(").split("\n")
    scale = alt.Scale(domain=[low - room, high + room], nice=False, zero=False)
    ticks = alt.Axis(tickCount=6 if is_wide else 4)
    labels = _axis([_broken(label, is_wide=is_wide) for label in data["label"]], "left")
    numbers = _axis([[each] for each in data["numbers"]], "right") if is_wide else None
    color = alt.Color(
        "is_primary:N", legend=None, scale=alt.Scale(domain=[True, False], range=[ACCENT, MUTED])
    )
    shape = alt.Shape(
        "is_primary:N", legend=None, scale=alt.Scale(domain=[True, False], range=["diamond", "square"])
    )
    base = alt.Chart(data)
    nothing = (
        alt.Chart(pl.DataFrame({"null": [null]}))
        .mark_rule(color=INK, strokeDash=[3, 3])
        .encode(x=alt.X("null:Q", title=title, scale=scale, axis=ticks))
    )
    ranges = base.mark_rule(strokeWidth=1.6).encode(
        x=alt.X("low:Q", title=title, scale=scale, axis=ticks), x2="high:Q", y=_y(data, labels), color=color
    )
    points = base.mark_point(filled=True, size=64, opacity=1).encode(
        x=alt.X("estimate:Q", title=title, scale=scale, axis=ticks),
        y=_y(data, numbers),
        color=color,
        shape=shape,
    )
    # Words stand at the left and numbers at the right of the same rows: two axes, one order.
    layers: alt.LayerChart = alt.layer(nothing, ranges, points).resolve_scale(y="independent")
    left = room_for([part for label in data["label"] for part in _broken(label, is_wide=is_wide)])
    right = room_for(data["numbers"].to_list()) if is_wide else 10
    sized: Drawing = layers.properties(
        width=max(width - left - right, 120),
        height=_row_height(is_wide=is_wide) * data.height,
        autosize="pad",
        padding={"left": slack(left), "right": slack(right), "top": 5, "bottom": 5},
    )
    return sized


def _row_height(*, is_wide: bool) -> int:
    return 26 if is_wide else 32


def room_for(labels: Sequence[str]) -> int:
    """Return the pixels that labels take beside a plot in a wide font, for the reader's is not known."""
    return min(int(_LETTER_WIDTH * max(map(len, labels))) + 10, MOST_ROOM)


def slack(room: int) -> int:
    """Return the part of the room that the font of the drawing leaves and that of the page may need."""
    return int(0.2 * room)


def _y(data: pl.DataFrame, axis: alt.Axis | None) -> alt.Y:
    return alt.Y("place:N", sort=data["place"].to_list(), title=None, axis=axis)


def _axis(labels: list[list[str]], side: Literal["left", "right"]) -> alt.Axis:
    # Rows are told apart by their place, for labels may repeat.
    return alt.Axis(
        labelExpr=f"{json.dumps(labels)}[toNumber(datum.value)]",
        orient=side,
        ticks=False,
        domain=False,
        labelLimit=MOST_ROOM,
        labelColor=INK,
        labelLineHeight=12,
    )


def _broken(label: str, *, is_wide: bool) -> list[str]:
    """Break a long label in two lines on a phone."""
    if is_wide or len(label) <= _LETTERS_OF_A_LABEL:
        return [label]
    place = label.rfind(" ", 0, _LETTERS_OF_A_LABEL)
    return [label] if place <= 0 else [label[:place], label[place + 1 :]]
