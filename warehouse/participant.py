"""Which rows are those of one participant: its identifiers, and how tables and ledgers are searched."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.errors import LakeError
from warehouse.quoting import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import duckdb

# A shorter word, such as V1 or P02, may be a visit or a dose.
LEAST_LETTERS = 4
# What takes the place of an identifier in a text.
_INSTEAD = r"\1[erased]\2"
# What a column of participants' numbers is called, without blanks and signs.
_PERSON = (
    r"(?:[ur]?subj(?:ect)?s?|pat(?:ient)?(?:in|en)?s?|pt|participants?|proband(?:in|en)?|person(?:en)?|volunteer"
    r"|donor|individual|case|screening|randomi[sz]ation|enrol?lment|record)"
)
_CODE = r"(?:code|label|key)?"
_NUMBER = r"(?:ids?|no|nr|num|number|nummer|kennung)?"
_SUBJECT = f"{_PERSON}{_CODE}{_NUMBER}"
_SUBJECT_COLUMN = re.compile(_SUBJECT)
_SAMPLE_COLUMN = re.compile(
    r"(?:geo|lab)?(?:sample|specimen|aliquot|library|tube)(?:ids?|name|no|nr|number|code|label|barcode|accession)?"
    r"|.*(?:accession|refid|barcode)"
)
# Whose rows are about one row of data: they go with it. In the other ledgers only the identifier goes.
ROW_LEDGERS = ("meta.check_failure", "meta.quarantine", "meta.correction")
LEDGER_OF_FILES = "meta.source_file"
TEXT_LEDGERS = (
    LEDGER_OF_FILES,
    "meta.run",
    "meta.check_result",
    "meta.lineage",
    "meta.format",
    "meta.erasure",
)


@dataclass(frozen=True, slots=True)
class Keys:
    """The identifiers of a participant, without blanks around them and in lower case.

    Those in `anywhere` are sought in every column of text. The others, such as a bare number, may be a
    measurement elsewhere: they are sought in columns of participants only.
    """

    anywhere: tuple[str, ...]
    as_subject: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.anywhere, *self.as_subject)

    @property
    def pattern(self) -> str:
        """Return the pattern, of RE2 and of Python, of a text that names one of them."""
        parts = []
        if self.anywhere:
            forms = {form for key in self.anywhere for form in (key, html.escape(key))}
            parts.append(f"(?:{'|'.join(map(_spell, sorted(forms)))})")
        if self.as_subject:
            keys = "|".join(map(_spell, self.as_subject))
            parts.append(rf"{_PERSON}[ _-]?{_CODE}[ _-]?{_NUMBER}[^a-z0-9]{{0,8}}(?:{keys})")
        return rf"(^|[^a-z0-9])(?:{'|'.join(parts)})($|[^a-z0-9])"

    def is_in(self, text: str) -> bool:
        return re.search(self.pattern, text, re.IGNORECASE) is not None

    def take_out(self, text: str) -> str:
        return re.sub(self.pattern, _INSTEAD, text, flags=re.IGNORECASE)

    def contained_in(self, column: str) -> str:
        return f"coalesce(regexp_matches({identifier(column)}::varchar, {literal(self.pattern)}, 'i'), false)"

    def taken_out_of(self, column: str) -> str:
        pattern, instead = literal(self.pattern), literal(_INSTEAD)
        return f"regexp_replace({identifier(column)}, {pattern}, {instead}, 'gi')"

    def equal_to(self, column: str, kind: str) -> str | None:
        """Return the condition that a cell is one of them, or None where none could be there."""
        keys = self.all if is_subject_column(column) else self.anywhere if kind == "VARCHAR" else ()
        if not keys:
            return None
        return f"coalesce({normal(column)} in ({', '.join(map(literal, keys))}), false)"


def _spell(key: str) -> str:
    return re.sub(r"([^\w\s])", r"\\\1", key)


def normal(column: str) -> str:
    return f"lower(trim({identifier(column)}::varchar))"


def normalise(text: str) -> str:
    return text.strip().lower()


def is_subject_column(column: str) -> bool:
    return _SUBJECT_COLUMN.fullmatch(re.sub(r"[\W_]+", "", column.casefold())) is not None


def is_sample_column(column: str) -> bool:
    return _SAMPLE_COLUMN.fullmatch(re.sub(r"[\W_]+", "", column.casefold())) is not None


def rows_to_erase(table: str, columns: Mapping[str, str], keys: Keys) -> str:
    """Return the condition of the rows of a table that go; `erased_row` holds the source rows of raw's."""
    tests: Iterable[str | None]
    if table in ROW_LEDGERS:
        tests = [
            *(keys.contained_in(name) for name, kind in columns.items() if kind == "VARCHAR"),
            *(keys.equal_to(name, kind) for name, kind in columns.items()),
            "coalesce((source_file, source_row::bigint) in (from erased_row), false)",
        ]
        # The cell of a failing row says its column beside it.
        if keys.as_subject and table == "meta.check_failure":
            values = ", ".join(map(literal, keys.as_subject))
            tests.append(f"coalesce({normal('value')} in ({values}) and {_says_subject()}, false)")
    elif table == LEDGER_OF_FILES:
        tests = [keys.contained_in("source_file")]
    elif table in TEXT_LEDGERS:
        tests = []
    else:
        tests = [
            keys.contained_in(name) if name == "_source_file" else keys.equal_to(name, kind)
            for name, kind in columns.items()
        ]
    return " or ".join(test for test in tests if test) or "false"


def _says_subject() -> str:
    return (
        f"regexp_full_match(regexp_replace(lower(column_name), '[^a-z0-9]+', '', 'g'), {literal(_SUBJECT)})"
    )


def texts_to_change(table: str, columns: Mapping[str, str], keys: Keys) -> dict[str, str]:
    """Return the columns of text from which only the identifier goes, with what takes its place."""
    if table in ROW_LEDGERS:
        return {}
    return {name: keys.taken_out_of(name) for name, kind in columns.items() if kind == "VARCHAR"}


def find_keys(
    connection: duckdb.DuckDBPyConnection,
    find: Callable[[str], Sequence[tuple[str, Mapping[str, str]]]],
    participant: str,
) -> Keys:
    """Find the identifiers of a participant in all that any version holds; `find` gives relations of a table.

    Raises
    ------
    LakeError
        If no version knows the participant, or several participants have the identifier.
    """
    asked = normalise(participant)
    people: set[tuple[str, str]] = set()
    for table in ("sdtm.dm", "adam.adsl"):
        for relation, columns in find(table):
            if "usubjid" in columns:
                subjid = "coalesce(lower(trim(subjid::varchar)), '')" if "subjid" in columns else "''"
                people |= set(
                    connection.execute(
                        f"select distinct {normal('usubjid')}, {subjid} from {relation}"
                        " where usubjid is not null"
                    ).fetchall()
                )
    found = {usubjid for usubjid, subjid in people if asked in (usubjid, subjid)}
    found = {asked} if asked in found else found
    if len(found) > 1:
        raise LakeError(
            f"{participant}: {len(found)} participants have this identifier: give the USUBJID of one of them:"
            f" {', '.join(sorted(found))}"
        )
    if not found:
        if asked and _is_in_raw(connection, find, asked):
            return _sort([asked], [])
        raise LakeError(
            f"{participant}: no version of the lake knows this participant: give the USUBJID or the SUBJID of"
            " sdtm.dm, or the identifier as delivered"
        )
    (usubjid,) = found
    numbers = {subjid for owner, subjid in people if owner == usubjid} - {""}
    shared = {subjid for owner, subjid in people if owner != usubjid}
    samples = _find_samples(connection, find, usubjid)
    return _sort([usubjid, *samples], sorted(numbers - shared - {usubjid}))


def _sort(certain: Iterable[str], numbers: Iterable[str]) -> Keys:
    """Tell identifiers that can be nothing else from those that are a number or a short word."""
    anywhere = [key for key in certain if not re.fullmatch(r"[+-]?\d*[.,]?\d*|..?", key)]
    anywhere += [
        key
        for key in numbers
        if len(key) >= LEAST_LETTERS and re.search(r"[a-z]", key) and re.search(r"\d", key)
    ]
    rest = [key for key in (*certain, *numbers) if key not in anywhere]
    return Keys(tuple(dict.fromkeys(anywhere)), tuple(dict.fromkeys(rest)))


def _is_in_raw(
    connection: duckdb.DuckDBPyConnection,
    find: Callable[[str], Sequence[tuple[str, Mapping[str, str]]]],
    asked: str,
) -> bool:
    return any(
        connection.execute(f"select 1 from {relation} where {normal(name)} = ? limit 1", [asked]).fetchone()
        for relation, columns in find("raw.")
        for name in columns
        if is_subject_column(name)
    )


def _find_samples(
    connection: duckdb.DuckDBPyConnection,
    find: Callable[[str], Sequence[tuple[str, Mapping[str, str]]]],
    usubjid: str,
) -> list[str]:
    """Return the identifiers of samples that are of this participant and of nobody else."""
    own: set[str] = set()
    others: set[str] = set()
    for table in ("omics.sample", "sdtm.be", "sdtm.bs", "staging.sample"):
        for relation, columns in find(table):
            for name in columns if "usubjid" in columns else ():
                if not is_sample_column(name):
                    continue
                for value, is_own in connection.execute(
                    f"select distinct {normal(name)}, coalesce({normal('usubjid')} = ?, false)"
                    f" from {relation} where {identifier(name)} is not null",
                    [usubjid],
                ).fetchall():
                    (own if is_own else others).add(value)
    return sorted(own - others - {""})
