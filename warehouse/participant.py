"""One participant as the lake knows them: every identifier, and which rows are theirs or mention them."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from warehouse.errors import LakeError, UnknownParticipantError
from warehouse.quoting import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

ERASED = "erased"
# Columns whose cells name a participant, or a sample of one.
PERSON = re.compile(
    r"(?:u?subjid|(?:subject|patient|participant|sample|specimen)(?:_?(?:id|no|number))?"
    r"|other_(?:usubjid|sample_id))"
)
# Rows of these are of many participants, or of the house: what they mention is masked, and they stay.
_SHARED = ("results", "reports")
_OURS = frozenset({f"meta.{name}" for name in ("run", "lineage", "format", "erasure", "erased_content")})
_NESTED = ("STRUCT", "MAP", "UNION", "JSON", "[")
_SHORTEST = 5


@dataclass(frozen=True)
class Participant:
    """The identifiers of one participant: those found in any text, and those too short for it."""

    keys: tuple[str, ...]
    bare: tuple[str, ...] = ()

    @property
    def all_keys(self) -> tuple[str, ...]:
        return (*self.keys, *self.bare)

    @cached_property
    def pattern(self) -> str:
        """Return an expression that both RE2 and Python read: a key that no letter or digit touches."""
        keys = "|".join(_escape(key) for key in sorted(self.keys, key=len, reverse=True))
        return f"(?i)(^|[^A-Za-z0-9])({keys})($|[^A-Za-z0-9])" if keys else "(?i)(^)(a)(b^)"

    def is_in(self, text: str) -> bool:
        return re.search(self.pattern, text) is not None

    def is_in_file(self, file: Path) -> bool:
        """Tell whether a file holds a key in plain text."""
        with file.open("rb") as stream:
            return any(self.is_in(line.decode("latin-1")) for line in stream)

    def hashes(self, salt: str) -> list[str]:
        """Return the hashes that a later delivery is held against."""
        return sorted(
            [*(hash_key(salt, key) for key in self.keys), *(hash_bare(salt, key) for key in self.bare)]
        )

    def is_removed(self, table: str, columns: Mapping[str, str], alias: str = "t") -> str:
        """Return the SQL condition of the rows that go."""
        cells = ", ".join(literal(key.lower()) for key in self.all_keys)
        found = [
            f"lower({self._text(name, kind)}) in ({cells})"
            for name, kind in columns.items()
            if PERSON.fullmatch(name.lower()) and table not in _OURS
        ]
        if is_shared(table):
            nested = [name for name, kind in columns.items() if any(word in kind for word in _NESTED)]
            found += [self._matches(f"{identifier(name)}::varchar") for name in nested]
        else:
            found.append(self._matches(f"{alias}::varchar"))
        return f"coalesce({' or '.join(found) or 'false'}, false)"

    def is_masked(self, table: str, columns: Mapping[str, str]) -> str:
        """Return the SQL condition of the rows that stay, and mention the participant."""
        mentions = [
            self._matches(self._text(name, columns[name])) for name in maskable_columns(table, columns)
        ]
        return f"coalesce({' or '.join(mentions) or 'false'}, false)"

    def masks(self, table: str, columns: Mapping[str, str]) -> dict[str, str]:
        """Return the SQL that masks each column in which rows may mention the participant."""
        return {name: self._mask(name, columns[name]) for name in maskable_columns(table, columns)}

    def select_kept(self, table: str, columns: Mapping[str, str], relation: str) -> str:
        masks = ", ".join(f"{sql} as {identifier(name)}" for name, sql in self.masks(table, columns).items())
        shown = f"* replace ({masks})" if masks else "*"
        return f"select {shown} from {relation} as t where not {self.is_removed(table, columns)}"

    def _matches(self, text: str) -> str:
        return f"coalesce(regexp_matches({text}, {literal(self.pattern)}), false)"

    def _text(self, name: str, kind: str) -> str:
        # PostgreSQL keeps the texts of small tables as bytes.
        return f"decode({identifier(name)})" if kind == "BLOB" else f"{identifier(name)}::varchar"

    def _mask(self, name: str, kind: str) -> str:
        masked, by = self._text(name, kind), literal(rf"\1{ERASED}\3")
        for _ in range(2):
            masked = f"regexp_replace({masked}, {literal(self.pattern)}, {by}, 'g')"
        return f"encode({masked})" if kind == "BLOB" else masked


def is_shared(table: str) -> bool:
    return table.partition(".")[0] in _SHARED or table in _OURS


def maskable_columns(table: str, columns: Mapping[str, str]) -> list[str]:
    if not is_shared(table):
        return []
    return [name for name, kind in columns.items() if kind in ("VARCHAR", "BLOB")]


def hash_key(salt: str, key: str) -> str:
    """Hash an identifier as the ledger of erasures keeps it."""
    return hmac.new(salt.encode(), key.strip().lower().encode(), hashlib.sha256).hexdigest()


def hash_bare(salt: str, key: str) -> str:
    """Hash an identifier that is one only in a column of identifiers."""
    return hash_key(salt, f"bare\0{key.strip()}")


def gather_keys(name: str, rows: Iterable[Sequence[tuple[str, str]]]) -> Participant:
    """Follow a name through rows of cells that name participants and samples, to all identifiers of one.

    What stands in one row with them is theirs unless it stands with another USUBJID too: a number that two
    sites gave to a participant each is nobody's alone.

    Raises
    ------
    LakeError
        If no cell has the name, or it is that of several participants.
    """
    holding: dict[str, list[frozenset[str]]] = {}
    people: dict[str, set[str]] = {}
    spelt: dict[str, str] = {}
    for row in rows:
        cells = frozenset(value for _, value in row)
        for value in cells:
            holding.setdefault(value, []).append(cells)
            people.setdefault(value, set()).update(v for column, v in row if column == "usubjid")
            spelt.setdefault(value.lower(), value)
    named = name if name in holding else spelt.get(name.strip().lower())
    if named is None:
        raise UnknownParticipantError(
            "the participant named is not in the lake, in any version: nothing was erased"
        )
    if len(people[named]) > 1:
        raise LakeError(
            "the identifier named is that of several participants: nothing was erased: name one by USUBJID"
        )
    person = people[named] or {named}
    keys = {named, *person}
    waiting = list(keys)
    while waiting:
        for cells in holding.get(waiting.pop(), ()):
            for value in cells - keys:
                known = people[value] or set().union(*(people[v] for c in holding[value] for v in c))
                if known <= person:
                    keys.add(value)
                    waiting.append(value)
    kept = tuple(sorted(key for key in keys if _is_distinctive(key)))
    return Participant(kept, tuple(sorted(keys.difference(kept))))


def _is_distinctive(key: str) -> bool:
    """Tell whether a key is found within a text without finding what is none: `001` is not."""
    return (
        len(key) >= _SHORTEST
        and (not key.isdecimal() or len(key) > _SHORTEST + 2)
        and any(letter.isdecimal() for letter in key)
    )


def _escape(key: str) -> str:
    return re.escape(key).replace("\\ ", " ")
