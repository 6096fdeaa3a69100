"""Which columns identify a person, and how their values are kept out of all that is not raw."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp

from warehouse.lake import LAKE, tables
from warehouse.masking import MASK
from warehouse.pseudonyms import PSEUDONYM
from warehouse.quoting import identifier, qualified

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    import duckdb

    from warehouse.models import Model
    from warehouse.study import Handling, Source, Study

EXPECTATION = "identifying_column"
# Formats whose columns may be those of a person; the columns of the others are given by the format.
TABULAR = frozenset({"csv", "xpt", "dataset_json"})
# Tables whose columns a study names itself.
OWN_SCHEMAS = frozenset({"staging", "sdtm"})
# The free text of each ledger; what the other columns hold is ours, or says where a row is.
FREE_TEXT: Mapping[str, tuple[str, ...]] = {
    "source_file": ("remarks",),
    "check_result": ("observed",),
    "check_failure": ("value", "row_key"),
    "quarantine": ("reason", "row"),
    "correction": ("old_value", "new_value", "reason", "evidence"),
}
# Those that hold one value and nothing else.
CELLS = frozenset({"value", "old_value", "new_value"})

# Names of columns without blanks and signs, umlauts as two letters: whose, what, which of several.
_PERSON = (
    r"(?:pat(?:ient)?(?:in|en)?s?|pt|subj(?:ect)?|participants?|proband(?:in|en)?|person(?:en)?|volunteer|dm"
    r"|contact|nextofkin|guardian|emergency(?:contact)?|spouse|mothers?|fathers?|parents?|relatives?"
    r"|private?|home|work)?"
)
_KINDS = (
    r"(?:(?:first|last|middle|full|given|family|maiden|birth|sur|fore|nick|f|l)?names?|initials|init|initialen)",
    r"(?:vor|nach|familien|geburts|ruf|zu)namen?",
    r"(?:(?:date|day|place)ofbirth|dob|birth(?:day|date|dat|dt|dtc|place)|brth(?:dtc|dt|dat))",
    r"geb(?:urts)?(?:datum|dat|tag|ort)",
    r"e?mail(?:addr(?:ess)?|adresse)?",
    r"(?:(?:tele|cell|mobile)?phone|tele?fon|mobilfon|telephon|telefax|tel|fax|mobile?|handy|rufnummer)",
    r"(?:(?:street|post(?:al)?|mailing|ip)?(?:address(?:line)?|addr)|adresse|anschrift|wohnort)",
    r"(?:street(?:name)?|strasse|hausnummer|housenumber|zip(?:code)?|post(?:al)?code|plz|postleitzahl)",
    r"(?:mrn|ssn|nino|kvnr|svnr|rvnr|passport)",
)
# What does not identify without a word for "number": "hospital" alone is a site, "national" an adjective.
_NUMBERED = (
    r"(?:(?:medical|health|hospital|clinic)(?:record|chart)?|chart|kranken(?:haus|akten?|kassen)?|(?:health)?insurance"
    r"|versicher(?:ungs|ten)|(?:kranken|sozial|renten)versicherungs?|(?:social|national)(?:security|insurance)"
    r"|nhs|healthcard|medicare|national(?:identity)?|identity(?:card)?|passport|reisepass|(?:personal)?ausweis"
    r"|tax|steuer|drivers?licen[cs]e|fuehrerschein|telephone|phone|telefon|tel|fax|mobile?|handy)"
)
_NUMBER = r"(?:no|nr|num|number|nummer|id(?:no|nr|number|nummer)?|kennung)"
_IDENTIFIES = re.compile(rf"{_PERSON}(?:{_NUMBERED}{_NUMBER}|{'|'.join(_KINDS)})(?:te?xt|raw|\d{{1,2}})?")
# A letter and its accent may be two characters.
_WORD = re.compile("\\\\[nrt]|[^\\W_]+(?:[\u0300-\u036f]+[^\\W_]*)*")
_QUOTED = re.compile(r"(?<!\w)(['\"`])(.+?)\1(?!\w)", re.DOTALL)
_DATE = re.compile(r"(?:(\d{4})\D(\d{1,2})\D(\d{1,2})|(\d{1,2})\D(\d{1,2})\D(\d{4}))(?!\d)")
# What stands in a cell where nothing is known.
_NOTHING = frozenset(
    {"unknown", "unbekannt", "none", "keine", "null", "nil", "missing", "nan", "not", "na", "tbd"}
    | {"yes", "no", "ja", "nein", "true", "false"}
)
# What of a value has become another thing by then: a count, an age, a digest, a yes or no.
_REDUCED = (
    exp.Predicate,
    exp.AggFunc,
    exp.DateDiff,
    exp.Extract,
    exp.Year,
    exp.Length,
    exp.MD5,
    exp.SHA,
    exp.SHA2,
)


def is_identifying(column: str) -> bool:
    """Guess from its name whether a column identifies a person, in English or German.

    The participant's number within the study (SUBJID, USUBJID) does not: it is what stands for the person.
    """
    spelt = column.translate({0xE4: "ae", 0xF6: "oe", 0xFC: "ue", 0xC4: "Ae", 0xD6: "Oe", 0xDC: "Ue"})
    return _IDENTIFIES.fullmatch(re.sub(r"[\W_]+", "", spelt.casefold())) is not None


def handling_of(source: Source, columns: Iterable[str]) -> dict[str, Handling]:
    """Return what becomes of each identifying column of a source: as declared, else kept in raw only."""
    declared = {name.lower(): handling for name, handling in source.identifying.items()}
    found: dict[str, Handling] = {}
    for column in columns:
        handling = declared.get(column.lower())
        if handling is None and source.format in TABULAR and is_identifying(column):
            handling = "keep"
        if handling is not None and handling != "no":
            found[column] = handling
    return found


class Identifiers:
    """What identifies the people of a study at work: names of columns, and values, these in memory only."""

    def __init__(self, study: Study, connection: duckdb.DuckDBPyConnection) -> None:
        self._study = study
        self._carried: dict[str, frozenset[str]] = {}
        self._values = _Values()
        self._denied = {
            name.lower()
            for source in study.sources.values()
            for name, handling in source.identifying.items()
            if handling in {"no", "pseudonymise"}
        }
        rows = connection.execute(
            "select table_name, column_name from duckdb_columns()"
            " where database_name = ? and schema_name = 'raw' and not starts_with(column_name, '_')",
            [LAKE],
        ).fetchall()
        self.flagged = _flagged(connection)
        delivered: dict[str, list[str]] = defaultdict(list)
        for source, column in rows:
            delivered[source].append(column)
        for source in delivered.keys() & study.sources.keys():
            self.learn_source(connection, source, delivered[source], qualified(f"{LAKE}.raw.{source}"))

    def learn_source(
        self, connection: duckdb.DuckDBPyConnection, source: str, columns: Iterable[str], relation: str
    ) -> Mapping[str, Handling]:
        """Take the identifying columns of a source, and their values, as known; return them.

        A pseudonym is there to be shown: neither it nor its column is masked.
        """
        found = handling_of(self._study.sources[source], columns)
        self._carry(f"raw.{source}", (name for name, handling in found.items() if handling != "pseudonymise"))
        for column, handling in found.items():
            self.learn(plain_values(connection, column, relation, handling), is_name=_is_name(column))
        return found

    def learn(self, values: Iterable[str], *, is_name: bool = False) -> None:
        for value in values:
            self._values.add(value, is_name=is_name)

    def columns(self, table: str, columns: Iterable[str]) -> list[str]:
        """Return which columns of a table identify, by their names."""
        if table.startswith("raw."):
            known: Collection[str] = self._carried.get(table, frozenset())
        else:
            known = frozenset().union(*self._carried.values())
        can_guess = table.partition(".")[0] in OWN_SCHEMAS
        return [
            column
            for column in columns
            if column.lower() in known
            or (can_guess and column.lower() not in self._denied and is_identifying(column))
        ]

    def follow(self, model: Model, columns: Callable[[], Iterable[str]]) -> list[str]:
        """Return the columns of a model's table that hold what identifies, also under another name."""
        read = frozenset().union(*(self._carried.get(table, frozenset()) for table in model.reads))
        if not read:
            return []
        names = _carried_names(model.select, read)
        found = [column for column in columns() if column.lower() in names]
        self._carry(model.table, found)
        return found

    def mask(self, text: str) -> str:
        """Return a text without the values that identify."""
        return self._values.mask(text)

    def mask_rows(self, ledger: str, rows: Iterable[Mapping[str, object]]) -> list[dict[str, object]]:
        """Return rows of a ledger whose free text holds no value that identifies."""
        ways = {
            name: self._values.mask_cell if name in CELLS else self.mask for name in FREE_TEXT.get(ledger, ())
        }
        return [
            {
                **row,
                **{name: way(text) for name, way in ways.items() if isinstance(text := row.get(name), str)},
            }
            for row in rows
        ]

    def _carry(self, table: str, columns: Iterable[str]) -> None:
        names = frozenset(column.lower() for column in columns)
        self._carried[table] = self._carried.get(table, frozenset()) | names


def _flagged(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Return the tables of which something about identifying columns was open when they were last judged."""
    if "meta.check_result" not in tables(connection):
        return frozenset()
    rows = connection.execute(
        f"""
        select table_name from {LAKE}.meta.check_result join {LAKE}.meta.run using (run_id, stage)
        where expectation = ? group by table_name having not arg_max(is_met, started_at)
        """,
        [EXPECTATION],
    ).fetchall()
    return frozenset(table for (table,) in rows)


def plain_values(
    connection: duckdb.DuckDBPyConnection, column: str, relation: str, handling: Handling
) -> list[str]:
    """Return the values of an identifying column that are no pseudonyms."""
    value = identifier(column)
    pseudonym = f" and not regexp_full_match({value}, '{PSEUDONYM}')" if handling == "pseudonymise" else ""
    rows = connection.execute(f"select distinct {value} from {relation} where {value} is not null{pseudonym}")
    return [str(text) for (text,) in rows.fetchall()]


def _is_name(column: str) -> bool:
    return re.search(r"name|vorn|nachn", column, re.IGNORECASE) is not None


def _carried_names(select: str, names: Collection[str]) -> frozenset[str]:
    """Return the names under which a SELECT hands on what the named columns hold."""
    statement = sqlglot.parse_one(select, dialect="duckdb")
    carried = set(names)
    aliases = [(alias.alias.lower(), alias.this) for alias in statement.find_all(exp.Alias)]
    before = -1
    while len(carried) > before:
        before = len(carried)
        carried |= {name for name, expression in aliases if _hands_on(expression, carried)}
    return frozenset(carried)


def _hands_on(expression: exp.Expression, names: Collection[str]) -> bool:
    reduced = (exp.Query, *_REDUCED)
    return any(
        isinstance(node, exp.Column) and node.name.lower() in names
        for node in expression.walk(prune=lambda node: isinstance(node, reduced))
    )


class _Values:
    """The values that identify, as the words that they are made of: so signs and letter case do not count."""

    def __init__(self) -> None:
        self._first: dict[str, set[tuple[str, ...]]] = {}
        self._parts: set[str] = set()
        self._cells: set[tuple[str, ...]] = set()

    def add(self, value: str, *, is_name: bool) -> None:
        """Take a value as known, in the forms that it may be seen in.

        Fewer than three characters, or fewer than five digits, are too common to be found within a text:
        they are known as whole cells alone, and digits not even so.
        """
        words = tuple(word for _, _, word in _words(value))
        if not words or words[0] in _NOTHING:
            return
        digits = "".join(words)
        if digits.isdecimal():
            self._add(words if len(digits) > 4 else (), (digits,) if len(digits) > 5 else ())  # noqa: PLR2004
        else:
            self._add(words if len(digits) > 2 else ())  # noqa: PLR2004
            if len(digits) > 1:
                self._cells.add(words)
        if is_name and len(words) > 1:
            self._parts |= {word for word in words if len(word) > 3 and word not in _NOTHING}  # noqa: PLR2004
        for date in _DATE.finditer(value):
            self._add(*_written(*date.groups()))

    def _add(self, *forms: tuple[str, ...]) -> None:
        for words in filter(None, forms):
            self._first.setdefault(words[0], set()).add(words)

    def mask(self, text: str) -> str:
        if not (self._first or self._cells):
            return text
        text = self._mask_words(text)
        return _QUOTED.sub(lambda found: f"{found[1]}{self._mask_parts(found[2])}{found[1]}", text)

    def mask_cell(self, text: str) -> str:
        return self.mask(self._mask_parts(text)) if self._first or self._cells else text

    def _mask_parts(self, text: str) -> str:
        words = _words(text)
        if tuple(word for _, _, word in words) in self._cells:
            return MASK
        return _replaced(text, [(start, end) for start, end, word in words if word in self._parts])

    def _mask_words(self, text: str) -> str:
        words = _words(text)
        folded = [word for _, _, word in words]
        spans = []
        place = 0
        while place < len(words):
            fitting = [
                len(value)
                for value in self._first.get(folded[place], ())
                if tuple(folded[place : place + len(value)]) == value
            ]
            if fitting:
                spans.append((words[place][0], words[place + max(fitting) - 1][1]))
            place += max(fitting, default=1)
        return _replaced(text, spans)


def _words(text: str) -> list[tuple[int, int, str]]:
    """Return where the words of a text are, without letter case and accents."""
    return [
        (found.start(), found.end(), _fold(found[0]))
        for found in _WORD.finditer(text)
        if not found[0].startswith("\\")
    ]


def _fold(word: str) -> str:
    if word.isascii():
        return word.lower()
    return "".join(
        letter
        for letter in unicodedata.normalize("NFKD", word.casefold())
        if not unicodedata.combining(letter)
    )


def _replaced(text: str, spans: list[tuple[int, int]]) -> str:
    for start, end in reversed(spans):
        text = text[:start] + MASK + text[end:]
    return text


def _written(*parts: str | None) -> set[tuple[str, ...]]:
    """Return the ways to write a date whose parts came as year, month, day or day, month, year."""
    year, second, third = (parts[0], parts[1], parts[2]) if parts[0] else (parts[5], parts[4], parts[3])
    forms: set[tuple[str, ...]] = set()
    for month, day in ((second, third), (third, second)):
        long = (str(year), str(month).zfill(2), str(day).zfill(2))
        short = (str(year), str(int(str(month))), str(int(str(day))))
        for form in (long, short):
            forms |= {form, form[::-1], (form[1], form[2], form[0])}
        forms.add(("".join(long),))
    return forms
