"""Make the folder of a new study: a small example that runs at once, to be replaced piece by piece."""

from __future__ import annotations

import re
from pathlib import Path

from warehouse.errors import StudyError
from warehouse.study import HOUSE, RESERVED, find_studies

TEMPLATE = Path(__file__).resolve().parent / "scaffold_template"
ID = re.compile(r"[a-z][a-z0-9_]{0,39}")
PLACEHOLDER = "{{id}}"
# A dot file in the template would act on the template itself.
DOT = "dot."


def make_study(study: str) -> Path:
    """Make a study folder from the template and return it.

    A bare name makes the folder among the studies of the checkout, or in the current folder where the
    house is installed; a path makes just that folder. The last part of it is the study's id.

    Raises
    ------
    StudyError
        For an id that a study cannot have, an id that is taken, or a folder that holds something.
    """
    folder = _folder(study)
    name = folder.name
    if not ID.fullmatch(name) or name in RESERVED or name.startswith("pg_"):
        raise StudyError(
            f"{study}: {name!r} cannot be the id of a study:"
            " allowed: lower-case letters, digits and _, a letter first, 40 of them at most, and no name"
            " that the folder of all lakes or PostgreSQL uses itself"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StudyError(f"{folder}: exists already: name a new or an empty folder")
    taken = HOUSE / "studies" / name
    if taken in find_studies():
        raise StudyError(
            f"{study}: the house has a study {name} already, and both would share a lake: choose another name"
        )
    try:
        _write(folder, name)
    except OSError as error:
        raise StudyError(f"{folder}: cannot be written: {error}") from error
    return folder


def _folder(study: str) -> Path:
    if ID.fullmatch(study):
        is_checkout = (HOUSE / "pyproject.toml").is_file()
        return (HOUSE / "studies" if is_checkout else Path.cwd()) / study
    return Path(study).expanduser().resolve()


def _write(folder: Path, name: str) -> None:
    for file in sorted(TEMPLATE.rglob("*")):
        if file.is_dir():
            continue
        place = file.relative_to(TEMPLATE)
        target = folder / place.with_name(re.sub(f"^{re.escape(DOT)}", ".", place.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        text = file.read_text(encoding="utf-8").replace(PLACEHOLDER, name)
        target.write_text(text, encoding="utf-8", newline="\n")
