"""The family of errors a user can cause and mend; the command maps each to an exit code."""

from __future__ import annotations


class TrialhouseError(Exception):
    """What went wrong, which value, what is allowed: one readable message, shown without a traceback."""


class StudyError(TrialhouseError):
    """The study folder cannot be used: study.toml, corrections.toml or a suite is wrong."""


class SourceError(TrialhouseError):
    """A delivered file is missing, unreadable or not what the study declared."""


class ModelError(TrialhouseError):
    """An SQL model cannot be ordered or run."""


class ExpectationFailed(TrialhouseError):  # noqa: N818 - the name is the event, as the ledgers say it
    """A critical expectation failed: the stage stopped and published nothing."""


class AnalysisError(TrialhouseError):
    """An analysis that the study switched on cannot be run."""


class LakeError(TrialhouseError):
    """The lake cannot be opened, is busy, or does not hold what was asked for."""
