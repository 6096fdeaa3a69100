"""The family of errors a user can cause and mend; the command maps each to an exit code."""

from __future__ import annotations

import errno

# Faults of a network share or of a busy machine, which another attempt may not meet.
_PASSING = {
    errno.EAGAIN, errno.EBUSY, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.EINTR, errno.EIO, errno.ENETDOWN, errno.ENETUNREACH, errno.ENOTCONN,
    errno.EREMOTEIO, errno.ESTALE, errno.ETIMEDOUT,
}  # fmt: skip


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


class LakeFormatError(LakeError):
    """The lake has a shape that this trialhouse does not write, or cannot read."""


class LakeMovedOnError(LakeError):
    """Another writer published between the reading and the publishing of this one: nothing was published."""


class NoLakeError(LakeError):
    """The study has no lake: no run has published yet."""


def is_passing_fault(error: BaseException | None) -> bool:
    """Tell whether a fault may mend itself: at its root is a disk or a network share that hiccuped."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _PASSING:
            return True
        error = error.__cause__
    return False


def joined(problems: list[SourceError]) -> SourceError:
    """Make one error of several, told all at once; one that may mend itself stays its cause."""
    error = SourceError("\n".join(map(str, problems)))
    error.__cause__ = next(filter(is_passing_fault, problems), problems[0])
    return error
