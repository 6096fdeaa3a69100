"""Which files a source means: regular ones inside the data root, whatever links say."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import deque
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from tasks.readers.limits import MAX_ENTRIES, MAX_FILES
from warehouse.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable

# What a file system or an office program leaves beside the files that were meant.
_LEFTOVERS = (".", "~$", "__MACOSX")
# Characters that end or forge a line of a log, and bytes of a name that are not UTF-8.
_UNFIT = ("Cc", "Cs", "Zl", "Zp")


def find_files(root: Path, what: str, pattern: str) -> list[tuple[Path, str]]:
    """Return the real path of each file that a path or pattern means, and its name below the data root."""
    if not root.is_dir():
        raise SourceError(f"{what}: the data root {root} is no folder; {pattern!r} is looked for below it")
    root = root.resolve()
    if os.path.lexists(root / pattern):
        return [_inside(root, what, root / pattern)]
    if not _has_marks(pattern):
        raise SourceError(f"{what}: there is no file {pattern!r} below the data root {root}")
    found = [path for path in _Walk(root, what).find(pattern) if not is_leftover(path.name, pattern)]
    if not found:
        raise SourceError(f"{what}: no file matches {pattern!r} below the data root {root}")
    if len(found) > MAX_FILES:
        raise SourceError(f"{what}: {len(found)} files match {pattern!r}; {MAX_FILES} are allowed")
    return [_inside(root, what, path) for path in found]


def is_leftover(name: str, pattern: str) -> bool:
    return name.startswith(_LEFTOVERS) and not PurePosixPath(pattern).name.startswith(_LEFTOVERS)


def check_file_name(what: str, name: str) -> None:
    """Refuse a name that cannot be shown and recorded as it is."""
    if any(unicodedata.category(character) in _UNFIT for character in name):
        raise SourceError(
            f"{what}: the file name {name[:200]!a} holds a control character or bytes that are not"
            " UTF-8: rename it"
        )


def open_file(path: Path, source_file: str) -> BinaryIO:
    """Open a regular file without following a link and without waiting for a pipe's writer."""
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _check_opened(os.fstat(opened), path, source_file)
        return os.fdopen(opened, "rb")
    except BaseException:
        os.close(opened)
        raise


def _check_opened(status: os.stat_result, path: Path, source_file: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(f"{source_file}: is not a regular file")
    # The path was resolved when the file was found; a folder on the way may be a link by now.
    if path.resolve(strict=True) != path or not os.path.samestat(status, path.lstat()):
        raise SourceError(f"{source_file}: was replaced while it was opened: run again")


def _inside(root: Path, what: str, path: Path) -> tuple[Path, str]:
    name = path.relative_to(root).as_posix()
    check_file_name(what, name)
    target = _resolved(root, what, path)
    mode = target.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
        raise SourceError(f"{what}: {name} is {kind}; a regular file is allowed")
    return target, name


def _resolved(root: Path, what: str, path: Path) -> Path:
    name = path.relative_to(root).as_posix()
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise SourceError(f"{what}: {name!a} is a link that leads nowhere or cannot be followed") from error
    if not target.is_relative_to(root):
        raise SourceError(
            f"{what}: {name!a} is a link to {str(target)!a}, outside the data root {root}:"
            " put the file itself below the data root"
        )
    return target


def _has_marks(pattern: str) -> bool:
    return any(mark in pattern for mark in "*?[")


def _is_own_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


class _Walk:
    """A search for the files of a pattern that visits each folder once and ends."""

    def __init__(self, root: Path, what: str) -> None:
        self.root = root
        self.what = what
        self.entries = 0

    def find(self, pattern: str) -> list[Path]:
        """Return the matching names of files; `**` is any number of folders, not through links.

        A folder that several links lead to is searched once, under its own name where that matches.
        """
        found: set[Path] = set()
        pending = deque([(self.root, PurePosixPath(pattern).parts)])
        visited = set(pending)
        while pending:
            folder, (part, *rest) = pending.popleft()
            below = tuple(rest)
            steps: list[tuple[Path, tuple[str, ...]]] = []
            if part == "**":
                steps = [(folder, below or ("*",))]
                steps += [(path, (part, *rest)) for path in self._scan(folder) if _is_own_folder(path)]
            else:
                for path in self._matches(folder, part):
                    if not rest and not path.is_dir():
                        found.add(path)
                    elif rest and path.is_dir():
                        steps.append((path, below))
            for path, parts in sorted(steps, key=lambda step: (step[0].is_symlink(), step)):
                place = (_resolved(self.root, self.what, path), parts)
                if place not in visited:
                    visited.add(place)
                    pending.append((path, parts))
        return sorted(found)

    def _matches(self, folder: Path, part: str) -> Iterable[Path]:
        if _has_marks(part):
            return [path for path in self._scan(folder) if fnmatchcase(path.name, part)]
        return [folder / part] if os.path.lexists(folder / part) else []

    def _scan(self, folder: Path) -> list[Path]:
        try:
            with os.scandir(folder) as entries:
                listed = []
                for entry in entries:
                    self.entries += 1
                    if self.entries > MAX_ENTRIES:
                        raise SourceError(
                            f"{self.what}: more than {MAX_ENTRIES} names were looked at below the data root"
                            f" {self.root}: name a folder in the path"
                        )
                    listed.append(Path(entry.path))
                return listed
        except OSError as error:
            raise SourceError(
                f"{self.what}: the folder {str(folder)!a} cannot be read ({error.strerror})"
            ) from error
