"""Time to event: Kaplan-Meier curves with the participants at risk below them, and what is read off them."""

from __future__ import annotations

import altair as alt
import polars as pl

from tasks.report.arm_table import ArmTable, Line, p_values
from tasks.report.charts import INK, NARROW, SERIES, Drawing, figure
from tasks.report.forest import room_for, slack
from tasks.report.section import About, Frames, Section
from tasks.report.statistics_cells import TOTAL, Cell, by_estimand, cells, methods_note, sizes
from tasks.report.wording import integer, interval, number, percent

RESULT = "results.time_to_event"
CURVE = "reports.survival_curve"
_TIMES = 6
_QUANTILES = {"0.25": "25 % had the event", "0.5": "Median", "0.75": "75 % had the event"}
_LETTERS_ON_A_PHONE = 12
_NICE_STEPS = (1, 2, 5, 7, 10, 14, 20, 28, 30, 50, 60, 90, 100, 180, 200, 365, 500, 1000)


def write(frames: Frames, about: About) -> str:
    statistics, curves = frames[RESULT], frames[CURVE]
    if statistics.is_empty():
        return "<p>No time to an event has been recorded.</p>"
    parts = []
    for estimand, heading, part in by_estimand(statistics, frames):
        parts.append(heading)
        own = curves.filter(pl.col("estimand").eq_missing(estimand))
        parameters = dict.fromkeys(cell.group2 for cell in cells(part, "events"))
        for place, paramcd in enumerate(parameters, start=1):
            of_parameter = part.filter(
                (pl.col("group2_level") == paramcd) | (pl.col("context") == "population")
            )
            curve = own.filter(pl.col("paramcd") == paramcd).sort("position")
            parts += [
                _figure(curve, f"survival-{estimand}-{place}", about),
                _table(of_parameter, f"survival_table-{estimand}-{place}", about),
            ]
    return "".join(parts)


def _figure(curve: pl.DataFrame, name: str, about: About) -> str:
    if curve.is_empty():
        return "<p>Nobody was followed.</p>"
    param = str(curve["param"][0])
    arms = curve["arm"].unique(maintain_order=True).to_list()
    times = _times(float(curve["day"].max()))  # type: ignore[arg-type]
    risk = _at_risk(curve, arms, times)
    ends = [curve.filter(pl.col("arm") == arm).row(-1, named=True) for arm in arms]
    told = "; ".join(
        f"{arm}: {percent(end['survival'], 1)} without the event at day {integer(end['day'])}"
        for arm, end in zip(arms, ends, strict=True)
    )
    return figure(
        name,
        lambda width: _draw(_steps(curve, arms), risk, arms, times, width),
        says=f"Kaplan-Meier curves. {param}. {told}.",
        caption=f"{param}: share of participants without the event by day (Kaplan-Meier); a tick is a"
        " participant censored. Below: participants at risk.",
        about=about,
    )


def _times(last: float) -> list[int]:
    """Return round days at which those at risk are counted."""
    step = next((step for step in _NICE_STEPS if last / step <= _TIMES), int(last / _TIMES) + 1)
    return list(range(0, int(last) + 1, step))


def _at_risk(curve: pl.DataFrame, arms: list[str], times: list[int]) -> pl.DataFrame:
    rows = []
    for arm in arms:
        own = curve.filter(pl.col("arm") == arm).sort("day")
        for time in times:
            later = own.filter(pl.col("day") >= time)
            n = later["n_at_risk"][0] if later.height else 0
            rows.append({"arm": arm, "day": float(time), "label": integer(n)})
    return pl.DataFrame(rows)


def _steps(curve: pl.DataFrame, arms: list[str]) -> pl.DataFrame:
    start = pl.DataFrame(
        {"arm": arms, "day": 0.0, "survival": 1.0, "n_censored": 0}, schema_overrides={"n_censored": pl.Int64}
    )
    steps = curve.select("arm", "day", "survival", pl.col("n_censored").cast(pl.Int64))
    return pl.concat([start, steps]).sort("arm", "day", maintain_order=True)


def _draw(steps: pl.DataFrame, risk: pl.DataFrame, arms: list[str], times: list[int], width: int) -> Drawing:
    is_wide = width != NARROW
    names = room_for(arms if is_wide else [arm[:_LETTERS_ON_A_PHONE] for arm in arms])
    inner = width - names - 40
    scale = alt.Scale(domain=[0, max(times[-1], float(steps["day"].max()))], nice=False)  # type: ignore[arg-type]
    axis = alt.Axis(values=times, grid=False)
    color = alt.Color(
        "arm:N",
        sort=arms,
        scale=alt.Scale(domain=arms, range=[SERIES[place % len(SERIES)] for place in range(len(arms))]),
        legend=alt.Legend(columns=1 if not is_wide else len(arms)) if len(arms) > 1 else None,
    )
    x = alt.X("day:Q", title="Days", scale=scale, axis=axis)
    y = alt.Y(
        "survival:Q", title="Without event", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".0%")
    )
    lines = alt.Chart(steps).mark_line(interpolate="step-after", strokeWidth=2).encode(x=x, y=y, color=color)
    censored = (
        alt.Chart(steps.filter(pl.col("n_censored") > 0))
        .mark_tick(orient="vertical", size=9, thickness=1.2)
        .encode(x=x, y=y, color=color)
    )
    curves = alt.layer(lines, censored).properties(width=inner, height=300 if is_wide else 230)
    below = (
        alt.Chart(risk)
        .mark_text(fontSize=11, color=INK)
        .encode(
            x=alt.X("day:Q", title=None, scale=scale, axis=None),
            y=alt.Y(
                "arm:N",
                sort=arms,
                title=None,
                axis=alt.Axis(ticks=False, domain=False, labelColor=INK, labelPadding=14, labelLimit=names),
            ),
            text="label:N",
        )
        .properties(width=inner, height=18 * len(arms))
    )
    return alt.vconcat(
        curves, below, spacing=8, padding={"left": slack(names), "right": 12, "top": 5, "bottom": 5}
    )


def _table(statistics: pl.DataFrame, name: str, about: About) -> str:
    made = ArmTable(sizes(statistics))
    found = cells(statistics)
    events = [cell for cell in found if cell.context == "events"]
    made.counts("With the event", events, template="{n_events}")
    made.counts("Censored", events, template="{n_censored}")
    if any(cell.number("N_miss") for cell in events):
        made.counts("Without a record", events, template="{N_miss}")
    _read_off(made, found)
    _compared(made, found)
    label = events[0].label if events else ""
    table = made.write(name, caption=label, about=about, whole_table=RESULT)
    return table + methods_note(cell for cell in found if cell.context in {"log_rank", "cox"})


def _read_off(made: ArmTable, found: list[Cell]) -> None:
    quantiles = [cell for cell in found if cell.context == "quantile" and cell.level]
    for share in dict.fromkeys(cell.level for cell in quantiles):
        words = _QUANTILES.get(str(share), f"Quantile {share}")
        said = {
            cell.arm or "": _with_limits(cell, 0)
            for cell in quantiles
            if cell.level == share and cell.arm != TOTAL
        }
        made.lines.append(Line(f"{words}, days", 0, said))
    points = [cell for cell in found if cell.context == "survival_at"]
    for day in dict.fromkeys(cell.group3 for cell in points):
        said = {cell.arm or "": _share(cell) for cell in points if cell.group3 == day}
        made.lines.append(Line(f"Without event at day {day}", 0, said))


def _compared(made: ArmTable, found: list[Cell]) -> None:
    ratios = [cell for cell in found if cell.context == "cox"]
    if ratios:
        said = {cell.arm or "": _with_limits(cell, 2) for cell in ratios}
        made.lines.append(Line(f"Hazard ratio against {ratios[0].reference}", 0, said))
    tests = [cell for cell in found if cell.context == "log_rank"]
    if tests:
        pairs = [cell for cell in tests if cell.arm is not None]
        said = {cell.arm or "": next(iter(p_values([cell]).values()), "") for cell in pairs}
        overall = p_values(cell for cell in tests if cell.arm is None)
        made.lines.append(Line("Log-rank test, p", 0, {**said, **overall}))


def _with_limits(cell: Cell, decimals: int) -> str:
    estimate = cell.number("estimate")
    if estimate is None:
        return "not reached"
    low, high = cell.number("conf.low"), cell.number("conf.high")
    limits = f" ({interval(low, high, decimals)})" if low is not None and high is not None else ""
    if low is not None and high is None:
        limits = f" ({number(low, decimals)} to not reached)"
    return f"{number(estimate, decimals)}{limits}"


def _share(cell: Cell) -> str:
    estimate = cell.number("estimate")
    if estimate is None:
        return "NE"
    low, high = cell.number("conf.low"), cell.number("conf.high")
    limits = "" if low is None or high is None else f" ({interval(100 * low, 100 * high, 1)})"
    return f"{percent(estimate, 1)}{limits}"


SECTION = Section("time_to_event", "Time to event", (RESULT, CURVE), write, uses=("meta.estimand",))
