"""How the report writes a number, a p-value, a time, a piece of data: one rule each."""

from __future__ import annotations

import html
import math
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

ABSENT = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
EN_DASH = "\N{EN DASH}"

SMALLEST_P_IN_DECIMALS = 0.001
SMALLEST_P_OF_A_DOUBLE = 1e-300
LARGEST_P_SHORT_OF_ONE = 0.9995
# A sum of probabilities that is one misses it by this much at most.
ROUNDING_ERROR = 1e-9

_SUPERSCRIPT = str.maketrans(
    "0123456789-",
    "\N{SUPERSCRIPT ZERO}\N{SUPERSCRIPT ONE}\N{SUPERSCRIPT TWO}\N{SUPERSCRIPT THREE}\N{SUPERSCRIPT FOUR}"
    "\N{SUPERSCRIPT FIVE}\N{SUPERSCRIPT SIX}\N{SUPERSCRIPT SEVEN}\N{SUPERSCRIPT EIGHT}\N{SUPERSCRIPT NINE}"
    "\N{SUPERSCRIPT MINUS}",
)
# Half away from zero, as clinical tables round; wide enough for the largest double.
_ROUNDING = Context(prec=400, rounding=ROUND_HALF_UP)
# Decimals that leave about three significant figures, by size.
_DECIMALS = ((100.0, 1), (10.0, 1), (1.0, 2), (0.0, 3))


def escape(value: object) -> str:
    """Return a value from the data as text that no browser takes for markup."""
    return ABSENT if is_absent(value) else html.escape(str(value), quote=True)


def breakable(value: object) -> str:
    """Escape a name of words joined by underscores, and let a narrow column break it between them."""
    return escape(value).replace("_", "_<wbr>")


def is_absent(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def rounded(value: float, decimals: int) -> Decimal:
    """Round the decimal number that is written for a double, half away from zero: 0.125 becomes 0.13."""
    return Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-decimals), context=_ROUNDING)


def integer(value: float | None) -> str:
    return number(value, 0)


def number(value: float | None, decimals: int | None = None) -> str:
    """Write a number with a true minus sign and separated thousands; about three figures unless told."""
    if value is None or is_absent(value):
        return ABSENT
    if math.isinf(value):
        return f"{MINUS if value < 0 else ''}\N{INFINITY}"
    if decimals is None:
        decimals = next(places for least, places in _DECIMALS if abs(value) >= least)
    near = rounded(value, decimals)
    # A value that rounds to zero has no sign left to show.
    return f"{near or abs(near):,.{decimals}f}".replace("-", MINUS)


def interval(low: float | None, high: float | None, decimals: int | None = None) -> str:
    """Write both ends with the same decimals, joined by "to" so that no minus sign meets a dash."""
    if low is None or high is None or is_absent(low) or is_absent(high):
        return ABSENT
    if decimals is None:
        finite = [abs(end) for end in (low, high) if not math.isinf(end)]
        largest = max(finite, default=0.0)
        decimals = next(places for least, places in _DECIMALS if largest >= least)
    return f"{number(low, decimals)} to {number(high, decimals)}"


def scientific(value: float) -> str:
    """Write 0.00049 as 4.9 x 10 to the -4, with a raised exponent."""
    mantissa, exponent = f"{value:.1e}".split("e")
    return (
        f"{mantissa}\N{NO-BREAK SPACE}{TIMES}\N{NO-BREAK SPACE}10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    )


def p_value(p: float | None) -> str:
    """Write a p-value in a table: three decimals, and the exact small one instead of "<.001"."""
    if p is None or is_absent(p):
        return ABSENT
    if p < SMALLEST_P_OF_A_DOUBLE:
        return f"<10{'-300'.translate(_SUPERSCRIPT)}"
    if p < SMALLEST_P_IN_DECIMALS:
        return scientific(p)
    if LARGEST_P_SHORT_OF_ONE <= p < 1 - ROUNDING_ERROR:
        return ">.999"
    return f"{rounded(p, 3)}".removeprefix("0")


def p_value_in_words(p: float | None) -> str:
    """Write a p-value in a sentence: `p = .039`, or `p < .001 (4.9 x 10 to the -4)`."""
    text = p_value(p)
    if p is None or is_absent(p):
        return "p not available"
    if text.startswith(("<", ">")):
        return f"p {text[0]} {text[1:]}"
    return f"p < .001 ({text})" if p < SMALLEST_P_IN_DECIMALS else f"p = {text}"


def percent(part: float, whole: float) -> str:
    return f"{number(100 * part / whole, 1)} %" if whole else ABSENT


def count(n: int, noun: str, plural: str | None = None) -> str:
    """Write `1 row`, `2 rows`."""
    return f"{integer(n)} {noun if n == 1 else plural or noun + 's'}"


def verb(n: int, one: str, many: str) -> str:
    return one if n == 1 else many


def size(n_bytes: float | None) -> str:
    """Write a file size in the largest decimal unit that keeps it at 1 or more."""
    if n_bytes is None:
        return ABSENT
    for unit, bytes_in_unit in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= bytes_in_unit:
            return f"{n_bytes / bytes_in_unit:,.1f} {unit}"
    return f"{integer(n_bytes)} B"


def moment(value: object) -> str:
    """Write a time to the minute; the warehouse keeps times in UTC."""
    if isinstance(value, datetime):
        in_utc = value.astimezone(UTC) if value.tzinfo else value
        return f"{in_utc:%Y-%m-%d %H:%M}"
    if isinstance(value, date):
        return value.isoformat()
    return ABSENT if value is None else str(value)


def gene(row: dict[str, Any]) -> str:
    """Return what a person calls the gene: its symbol, else its feature id."""
    return str(row["symbol"] or row["feature_id"])


def calm(text: str, among: Iterable[str]) -> str:
    """Write a coded term as a phrase where all of its kind are shouted; a lone COVID-19 stays."""
    return text.capitalize() if all(each.isupper() for each in among) else text


def capitalised(text: str) -> str:
    """Raise the first letter and leave the rest: `ISG15 rose` must not become `Isg15 rose`."""
    return text[:1].upper() + text[1:]
