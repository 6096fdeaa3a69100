"""What one delivery may ask of this machine; a file beyond a limit is refused while it is read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from warehouse.errors import SourceError
from warehouse.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

# Files of one source, and names of the data root that a pattern may look at to find them.
MAX_FILES = 10_000
MAX_ENTRIES = 1_000_000
# Members of one zip, and the bytes of the directory that lists them: Python keeps all of it in memory.
MAX_MEMBERS = 10_000
MAX_DIRECTORY_BYTES = 16 << 20
# Question texts stand in headers of electronic case report forms; no real name of a column is longer.
MAX_NAME_CHARACTERS = 1_000
# A matrix lands long, so its samples are no columns of a table; the query that turns it names each of them.
MAX_SAMPLES = 10_000
# The readers of transport files, counts of STAR, JSON objects and gene sets hold a file in memory.
MAX_IN_MEMORY_BYTES = 2 << 30
# A quoted cell that is never closed swallows the rest of the file; no real record is this long.
MAX_RECORD_CHARACTERS = 1 << 27
# Below this size the ratio says nothing: supplemental domains in transport files, most of them blanks,
# reach 126 to 1.
# Larger honest files stay well below 200: counts compress to a twentieth, sparse ones to a fiftieth.
FREE_OF_RATIO_BYTES = 64 << 20

_GIGABYTE = 1_000_000_000


class Allowance:
    """How far a file may grow while it is copied or decompressed."""

    def __init__(self, source_file: str, stored_bytes: int | None = None, folder: Path | None = None) -> None:
        settings = load_settings()
        self.source_file = source_file
        self.stored_bytes = stored_bytes
        self.folder = folder
        self.max_bytes = int(settings.max_file_gb * _GIGABYTE)
        self.max_ratio = settings.max_compression_ratio

    def check(self, size: int, stored: int | None = None) -> None:
        """Refuse `size` bytes that came of the `stored` ones, before more of them are made."""
        stored = self.stored_bytes if stored is None else stored
        if size > self.max_bytes:
            raise SourceError(
                f"{self.source_file}: holds more than {self.max_bytes / _GIGABYTE:g} GB:"
                " TRIALHOUSE_MAX_FILE_GB allows more"
            )
        if size <= FREE_OF_RATIO_BYTES:
            return
        if stored is not None and size > self.max_ratio * stored:
            raise SourceError(
                f"{self.source_file}: expands to more than {self.max_ratio:g} times its compressed size:"
                " TRIALHOUSE_MAX_COMPRESSION_RATIO allows more"
            )
        if self.folder is not None:
            disk = os.statvfs(self.folder)
            # What is copied here is stored once more in the lake.
            if disk.f_bavail * disk.f_frsize < size:
                raise SourceError(
                    f"{self.source_file}: {size / _GIGABYTE:.1f} GB of it are copied and too little"
                    " space is left"
                    f" in {self.folder}: make room on the disk"
                )


def check_in_memory(source_file: str, path: Path) -> None:
    """Refuse a file that its reader would have to hold in memory and cannot."""
    if (size := path.stat().st_size) > MAX_IN_MEMORY_BYTES:
        raise SourceError(
            f"{source_file}: holds {size / _GIGABYTE:.1f} GB; a file of this format is read into memory"
            " and may"
            f" hold {MAX_IN_MEMORY_BYTES / _GIGABYTE:.1f} GB: ask for it in parts, or as csv"
        )
