"""The participant flow drawn: boxes for who went on, and beside or between them who did not, and why."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.report.charts import FONT, INK, MUTED, NARROW, WORSE
from tasks.report.wording import escape, integer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tasks.report.section import About

# Narrower columns would break words.
NARROWEST_BRANCH = 150
_GAP = 24.0
_LETTER = 13
_LINE = 17.0
_PADDING = 10.0
# Mean width of a letter in its size; letters are not measured, so a little is left over.
_WIDTH_OF_LETTER = 0.56
_WASH = "#f5f7f8"


@dataclass(frozen=True, slots=True)
class Stage:
    """How many reached a stage, and of those who went no further how many for which reason."""

    name: str
    n: int
    lost: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Flow:
    """The stages that all pass together, then those of each arm."""

    trunk: tuple[Stage, ...]
    branches: Mapping[str, tuple[Stage, ...]]


@dataclass(slots=True)
class _Canvas:
    """Collects shapes; `height` grows with what is drawn."""

    width: float
    shapes: list[str] = field(default_factory=list)
    height: float = 0.0

    def text(self, x: float, y: float, written: str, *, color: str = INK, bold: bool = False) -> None:
        weight = ' font-weight="600"' if bold else ""
        self.shapes.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{_LETTER}" fill="{color}"{weight}>{escape(written)}</text>'
        )

    def box(self, x: float, y: float, width: float, lines: Sequence[_Line], *, is_loss: bool) -> float:
        """Draw a box with lines and return its height."""
        height = _height(lines)
        style = f'fill="{_WASH}"' if is_loss else f'fill="#ffffff" stroke="{INK}" stroke-width="1.4"'
        corner = 0 if is_loss else 6
        self.shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{corner}" {style}/>'
        )
        if is_loss:
            self.shapes.append(f'<rect x="{x:g}" y="{y:g}" width="3" height="{height:g}" fill="{WORSE}"/>')
        for place, line in enumerate(lines):
            baseline = y + _PADDING + _LINE * (place + 0.75)
            self.text(x + _PADDING + 4 * is_loss, baseline, line.text, color=line.color, bold=line.bold)
        self.height = max(self.height, y + height)
        return height

    def line(self, *points: tuple[float, float], has_tip: bool = False) -> None:
        """Draw a line through the points; its tip points down or to the right."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.shapes.append(f'<polyline points="{path}" fill="none" stroke="{MUTED}" stroke-width="1.4"/>')
        if has_tip:
            (x, y), (_, before) = points[-1], points[-2]
            tip = f"{x - 4:g},{y - 7:g} {x + 4:g},{y - 7:g}"
            if before == y:
                tip = f"{x - 7:g},{y - 4:g} {x - 7:g},{y + 4:g}"
            self.shapes.append(f'<polygon points="{x:g},{y:g} {tip}" fill="{MUTED}"/>')


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    color: str = INK
    bold: bool = False


def draw(flow: Flow, width: int, about: About) -> str:
    """Return the flow as SVG: arms side by side where they have room, below each other on a phone."""
    canvas = _Canvas(width)
    top = 24.0 if about.is_simulated else 2.0
    bottom = _trunk(canvas, flow, top)
    if flow.branches:
        _branches(canvas, flow.branches, bottom)
    if about.is_simulated:
        canvas.shapes.append(
            f'<text x="{width}" y="12" font-size="11" font-weight="bold" text-anchor="end" fill="{WORSE}">'
            "Simulated data</text>"
        )
    return (
        f'<svg aria-hidden="true" focusable="false" xmlns="http://www.w3.org/2000/svg" width="{width}"'
        f' height="{canvas.height + 2:g}" viewBox="0 0 {width} {canvas.height + 2:g}" font-family="{FONT}">'
        f"{''.join(canvas.shapes)}</svg>"
    )


def is_side_by_side(branches: int, width: float) -> bool:
    return branches * NARROWEST_BRANCH + (branches - 1) * _GAP <= width


def _trunk(canvas: _Canvas, flow: Flow, top: float) -> float:
    """Draw the common stages with losses beside them, and return where they end."""
    is_wide = canvas.width > NARROW
    main = 260.0 if is_wide else canvas.width * 0.55
    # Over several columns the trunk stands in the middle, else at the left edge.
    centred = bool(flow.branches) and is_side_by_side(len(flow.branches), canvas.width)
    x = (canvas.width - main) / 2 if centred else 0.0
    middle = x + main / 2
    y = top
    for place, stage in enumerate(flow.trunk):
        if place:
            canvas.line((middle, y - _GAP), (middle, y), has_tip=True)
        height = canvas.box(x, y, main, _stage_lines(stage, main), is_loss=False)
        below = y + height
        if stage.lost:
            below = _aside(canvas, stage, (x + main, middle), (y, below))
            if place + 1 < len(flow.trunk) or flow.branches:
                canvas.line((middle, y + height), (middle, below))
        y = below + _GAP
    return y - _GAP


def _aside(canvas: _Canvas, stage: Stage, box: tuple[float, float], rows: tuple[float, float]) -> float:
    """Draw the losses beside the way down, below the box whose stage they left, and return where they end."""
    (right, middle), (_, bottom) = box, rows
    x = min(right + 30, canvas.width - 120)
    if canvas.width <= NARROW:
        x = middle + 24
    width = min(canvas.width - x, 330.0)
    lines = _loss_lines(stage, width)
    y = bottom + 10
    height = canvas.box(x, y, width, lines, is_loss=True)
    canvas.line((middle, y + height / 2), (x, y + height / 2), has_tip=True)
    return y + height


def _branches(canvas: _Canvas, branches: Mapping[str, tuple[Stage, ...]], top: float) -> None:
    if is_side_by_side(len(branches), canvas.width):
        _columns(canvas, branches, top)
    else:
        _stacked(canvas, branches, top)


def _columns(canvas: _Canvas, branches: Mapping[str, tuple[Stage, ...]], top: float) -> None:
    n = len(branches)
    width = min((canvas.width - _GAP * (n - 1)) / n, 300.0)
    left = (canvas.width - n * width - _GAP * (n - 1)) / 2
    places = [left + place * (width + _GAP) for place in range(n)]
    middles = [x + width / 2 for x in places]
    fork = top + _GAP / 2
    canvas.line((canvas.width / 2, top), (canvas.width / 2, fork))
    canvas.line((middles[0], fork), (middles[-1], fork))
    y, ends = fork, [fork] * n
    for level in _levels(branches, width):
        y = max(ends) + (_GAP / 2 if y == fork and max(ends) == fork else _GAP)
        for place, (lines, is_loss) in enumerate(level):
            if not lines:
                continue
            canvas.line((middles[place], ends[place]), (middles[place], y), has_tip=not is_loss)
            ends[place] = y + canvas.box(places[place], y, width, lines, is_loss=is_loss)


def _levels(
    branches: Mapping[str, tuple[Stage, ...]], width: float
) -> Iterator[list[tuple[list[_Line], bool]]]:
    """Give the boxes of all columns level by level, so that like stands beside like."""
    arms = list(branches.items())
    for place in range(max(len(stages) for _, stages in arms)):
        kept = [(arm, stages[place] if place < len(stages) else None) for arm, stages in arms]
        yield [
            ([] if stage is None else _arm_lines(arm if place == 0 else None, stage, width), False)
            for arm, stage in kept
        ]
        if any(stage and stage.lost for _, stage in kept):
            yield [(_loss_lines(stage, width) if stage and stage.lost else [], True) for _, stage in kept]


def _stacked(canvas: _Canvas, branches: Mapping[str, tuple[Stage, ...]], top: float) -> None:
    """Draw arm below arm, each beside a line that comes down from the trunk."""
    rail, x = 8.0, 30.0
    width = canvas.width - x
    y = top + _GAP
    for arm, stages in branches.items():
        for place, stage in enumerate(stages):
            lines = _arm_lines(arm if place == 0 else None, stage, width)
            height = canvas.box(x, y, width, lines, is_loss=False)
            if place == 0:
                canvas.line((rail, top), (rail, y + height / 2), (x, y + height / 2), has_tip=True)
            y += height
            if stage.lost:
                y += 6
                y += canvas.box(x + 24, y, width - 24, _loss_lines(stage, width - 24), is_loss=True)
            y += 6
        y += _GAP


def _height(lines: Sequence[_Line]) -> float:
    return 2 * _PADDING + _LINE * len(lines)


def _stage_lines(stage: Stage, width: float) -> list[_Line]:
    return list(_wrapped(f"{stage.name} (n = {integer(stage.n)})", width, bold=True))


def _arm_lines(arm: str | None, stage: Stage, width: float) -> list[_Line]:
    return [*(_wrapped(arm, width, bold=True) if arm else ()), *_wrapped(_n(stage), width, bold=not arm)]


def _n(stage: Stage) -> str:
    return f"{stage.name} (n = {integer(stage.n)})"


def _loss_lines(stage: Stage, width: float) -> list[_Line]:
    total = sum(n for _, n in stage.lost)
    lines = list(_wrapped(f"Not further (n = {integer(total)})", width - 4, bold=True))
    for reason, n in stage.lost:
        lines += _wrapped(f"{reason} (n = {integer(n)})", width - 4, color=MUTED)
    return lines


def _wrapped(written: str, width: float, *, color: str = INK, bold: bool = False) -> Iterator[_Line]:
    letters = int((width - 2 * _PADDING) / (_LETTER * _WIDTH_OF_LETTER))
    # A number stays with what it counts.
    kept = written.replace("n = ", "n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    for line in textwrap.wrap(kept, max(letters, 8)):
        yield _Line(line, color, bold)
