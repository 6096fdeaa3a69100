"""The flows and the command: what starts here, at a terminal or in a worker, keeps what it writes private."""

from __future__ import annotations

import os

from warehouse.errors import LakeError
from warehouse.masking import mask_logs_and_tracebacks
from warehouse.settings import Settings, load_settings


def keep_private() -> None:
    """Mask what is said, and let others do nothing with the files that are written."""
    mask_logs_and_tracebacks()
    try:
        umask = load_settings().umask
    except LakeError:  # the command itself says so
        umask = Settings.model_construct(group_access=False).umask
    os.umask(umask)


keep_private()
