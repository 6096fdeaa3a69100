"""Regular expressions of suites: searched by an engine whose time grows with the value, never faster."""

from __future__ import annotations

import functools

import polars as pl

LONGEST = 1_000
# The engine compiles no pattern of more than ten megabytes. Whoever fits into it so many times stays so many
# times smaller, and the time per character of a value stays as small.
_TIMES_IN_LIMIT = 50
_TOO_LARGE = "exceeds size limit"


class PatternError(ValueError):
    """A regular expression cannot be searched: why, and what is allowed."""


def search(values: pl.Expr, pattern: str) -> pl.Expr:
    """Tell which texts contain a match, anywhere unless the pattern is anchored; null stays null."""
    check_pattern(pattern)
    return values.str.contains(pattern, literal=False, strict=True)


@functools.lru_cache(maxsize=1_000)
def check_pattern(pattern: str) -> None:
    """Refuse what the engine does not support, and what it would compile into something huge."""
    if len(pattern) > LONGEST:
        raise PatternError(f"{len(pattern)} characters: at most {LONGEST} are allowed")
    fault = _fault(pattern)
    # The line break ends a comment, which a pattern may have.
    if _TOO_LARGE in fault or (not fault and _fault(f"(?:{pattern}\n){{{_TIMES_IN_LIMIT}}}")):
        raise PatternError(
            "it is too large when compiled: fewer counted repetitions as {1000}, or narrower classes as [0-9]"
            " in place of \\d, are allowed"
        )
    if fault:
        raise PatternError(
            f"{fault}; the syntax is that of Rust's regex, without look-around and back-references"
        )


def _fault(pattern: str) -> str:
    """Return in one line why the engine refuses a pattern, or nothing."""
    try:
        pl.Series([], dtype=pl.String).str.contains(pattern, literal=False, strict=True)
    except pl.exceptions.ComputeError as error:
        lines = str(error).splitlines()
        return next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[0])
    return ""
