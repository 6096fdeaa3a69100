"""How a formatted table writes a statistic: one rule for each, stated under every table.

Numbers are rounded half away from zero, as SAS does and Python's `round` does not. A value's own binary
error is taken off first, at thirteen significant digits: 0.285 is then 28.5 %, however it is stored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import TypeAlias

NOT_ESTIMABLE = "NE"
ROUNDING = (
    "Rounded half away from zero. Means and quantiles have one decimal more than the data, standard "
    "deviations and standard errors two more, p-values four."
)
SMALLEST_P = Decimal("0.0001")
_SIGNIFICANT = 13
# `{conf.low:%}` is a share written in percent, `{conf.low:2}` a number with two decimals whatever the data.
_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9._]+)(?::(%|[0-9]))?\}")
_COUNTS = frozenset({"N", "n", "N_obs", "N_miss", "n_events", "n_resamples", "n_strata", "seed", "n_total"})
# Decimals beyond those of the data themselves.
_MORE_DECIMALS = {
    "min": 0, "max": 0,
    "mean": 1, "median": 1, "p25": 1, "p75": 1, "estimate": 1, "conf.low": 1, "conf.high": 1,
    "sd": 2, "std.error": 2, "sigma": 2,
}  # fmt: skip
_FIXED_DECIMALS = {
    "statistic": 3, "r.squared": 3, "correlation": 3, "effect_size": 3, "power": 3,
    "alpha": 4, "alpha.achieved": 4,
}  # fmt: skip
_DECIMALS_OF_UNKNOWN_DATA = 2
_MOST_DECIMALS = 3

Values: TypeAlias = Mapping[str, float | str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """How many decimals the data behind a statistic have; None where nothing tells."""

    decimals: int | None = None

    def of(self, stat_name: str) -> int:
        more = _MORE_DECIMALS.get(stat_name, 2)
        known = _DECIMALS_OF_UNKNOWN_DATA if self.decimals is None else self.decimals
        return _FIXED_DECIMALS.get(stat_name, known + more)


def rounded(value: float, decimals: int) -> str:
    """Write a number with that many decimals, rounded half away from zero; what is zero has no sign.

    Raises
    ------
    ValueError
        If the value is not finite.
    """
    exact = _decimal(value)
    text = format(exact.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP), "f")
    return text.removeprefix("-") if not text.strip("-0.") else text


def _decimal(value: float) -> Decimal:
    if not math.isfinite(value):
        raise ValueError(f"value: {value}: a finite number is allowed")
    return Decimal(f"{value:.{_SIGNIFICANT}g}")


def percent(share: float, decimals: int = 1) -> str:
    """Write a proportion in percent."""
    return rounded(float(_decimal(share) * 100), decimals)


def p_value(p: float) -> str:
    """Write a p-value with four decimals, and what is smaller as `<.0001`."""
    if not 0 <= p <= 1:
        raise ValueError(f"p: {p}: 0 to 1 is allowed")
    if p < SMALLEST_P:
        return "<.0001"
    if p < 1 and rounded(p, 4) == "1.0000":
        return ">.9999"
    return rounded(p, 4)


def decimals_of(value: float | None) -> int | None:
    """Return how many decimals a number of the data has, at most three; None for none."""
    if value is None or not math.isfinite(value):
        return None
    return min(_MOST_DECIMALS, max(0, -int(_decimal(value).normalize().as_tuple().exponent)))


def statistic(name: str, value: float | str | None, precision: Precision) -> str:
    """Write one statistic; a value that could not be computed is `NE`."""
    if not isinstance(value, int | float):
        return NOT_ESTIMABLE if value is None else value
    if name in _COUNTS or name.startswith(("n_", "N_")):
        return rounded(value, 0) if value == round(value) else rounded(value, 1)
    write = _WRITERS.get(name)
    return write(value) if write else rounded(value, precision.of(name))


def _brief(value: float) -> str:
    """Write one decimal, and none where the number is whole."""
    return rounded(value, 1).removesuffix(".0")


_WRITERS: Mapping[str, Callable[[float], str]] = {
    "p": lambda share: f"{percent(share)}%",
    "p.value": p_value,
    "p.value.adjusted": p_value,
    "p.smallest": p_value,
    "conf.level": lambda level: f"{_brief(100 * level)}%",
    "df": _brief,
    "df2": _brief,
}


def placeholders(template: str) -> tuple[str, ...]:
    """Return the statistics that a template names, in their order."""
    return tuple(name for name, _ in _PLACEHOLDER.findall(template))


def fill(template: str, values: Values, precision: Precision) -> str:
    """Write the statistics of one cell into its template, nothing where the cell has none of them.

    Nobody is 0, not "0 (0.0%)": a share of none says nothing more.
    """
    names = placeholders(template)
    if not any(name in values for name in names):
        return ""
    if names[:1] == ("n",) and values.get("n") == 0:
        return "0"
    if all(values.get(name) is None for name in names):
        return NOT_ESTIMABLE

    def written(found: re.Match[str]) -> str:
        name, how = found[1], found[2]
        value = values.get(name)
        if how and how != "%" and isinstance(value, float):
            return rounded(value, int(how))
        return statistic("p" if how == "%" else name, value, precision)

    return _PLACEHOLDER.sub(written, template)
