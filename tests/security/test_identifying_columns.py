"""Which names of columns identify, and in which ways of writing a value is found and masked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

from warehouse.identifying import Identifiers, is_identifying
from warehouse.study import load_study

if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES = Path(__file__).parent / "column_names"


class _Known(Identifiers):
    """Identifiers of no lake, for texts alone."""

    def __init__(self, values: Iterable[str], *, is_name: bool = True) -> None:
        super().__init__(load_study("nl_ruxolitinib"), duckdb.connect())
        self.learn(values, is_name=is_name)


@pytest.mark.parametrize(
    ("value", "text", "masked"),
    [
        ("Anna Müller", "Hello ANNA  MÜLLER!", "Hello [masked]!"),
        ("Anna Müller", "Anna Mu\u0308ller", "[masked]"),
        ("Müller, Anna", '{"name": "Müller,\\nAnna"}', '{"name": "[masked]"}'),
        (
            "Anna Müller",
            "Could not convert string 'Muller' to INT32",
            "Could not convert string '[masked]' to INT32",
        ),
        ("O'Brien", "value 'O''Brien' is", "value '[masked]' is"),
        ("O'Brien", 'value "O\'Brien" is', 'value "[masked]" is'),
        ("a.b@x.org", "mail to A.B@x.org.", "mail to [masked]."),
        ("1957-03-04", "born 04.03.1957", "born [masked]"),
        ("1957-03-04", "born 3/4/1957 or 19570304", "born [masked] or [masked]"),
        ("04.03.1957", "1957-03-04 00:00:00", "[masked] 00:00:00"),
        ("1957-03-04", "born 1957-03-05", "born 1957-03-05"),
        ("+49 30 1234567", "call 49301234567 or +49-30-1234567", "call [masked] or +[masked]"),
        ("Ann", "Annotation of annual visits", "Annotation of annual visits"),
        ("Ann", "see Ann.", "see [masked]."),
        ("Li", "a list, Li said", "a list, Li said"),
        ("Li", "'Li' is no number", "'[masked]' is no number"),
        ("43", "43 of 60 rows fail", "43 of 60 rows fail"),
        ("12345", "file 12345", "file [masked]"),
        ("unknown", "unknown table", "unknown table"),
        ("", "nothing", "nothing"),
        ("???", "is it so???", "is it so???"),
    ],
)
def test_a_value_is_masked_in_the_ways_it_is_written(value: str, text: str, masked: str) -> None:
    assert _Known([value]).mask(text) == masked


def test_masking_many_values_takes_no_time_that_grows_with_them() -> None:
    known = _Known([f"Name{number} Surname{number}" for number in range(20_000)])
    text = "row 7: Name19999 Surname19999, " + "words of a text " * 20_000
    assert known.mask(text).startswith("row 7: [masked], words")


def names(file: str) -> list[str]:
    return (NAMES / file).read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", names("identifying.txt"))
def test_a_name_that_identifies_is_guessed(name: str) -> None:
    assert is_identifying(name)
    assert is_identifying(name.upper())
    assert is_identifying(f" {name} ")


@pytest.mark.parametrize("name", names("other.txt"))
def test_a_name_that_does_not_identify_is_left_alone(name: str) -> None:
    assert not is_identifying(name)
