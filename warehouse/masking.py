"""Keep secrets and identifiers out of all that is said: messages, logs, tracebacks, what Prefect stores."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import logging
import os
import re
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

MASK = "[masked]"
# A shorter secret is masked only where its place betrays it: each letter of a text may be one.
TELLING = 4
# Within longer words, such a secret is taken for a coincidence.
CERTAIN = 8

_SECRET_VARIABLE = re.compile(
    r"(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|API_KEY|ACCESS_KEY|PRIVATE_KEY|AUTH_STRING|CREDENTIALS?)$",
    re.IGNORECASE,
)
# user:password@host, up to the last @: a password may hold one.
_IN_ADDRESS = re.compile(r"(?P<before>://[^\s:/@]{0,200}:)(?P<secret>\S+)(?=@)")
# password=..., bare or in quotes, also in quotes within an SQL literal or a Python text.
_IN_PAIR = re.compile(
    r"(?P<before>(?:password|passwd|passphrase|pwd)\s*=\s*)"
    r"(?P<secret>''(?:[^']|'(?!'))*''|\\'(?:[^'\\]|\\[^'])*\\'|'(?:[^'\\]|\\.)*(?:'|$)|\"[^\"]*\"|[^\s&;,]+)",
    re.IGNORECASE,
)
# Each knows a way to mask, for as long as it is needed: the identifiers of the study at work.
_masks: list[Callable[[str], str]] = []


@contextlib.contextmanager
def masking(way: Callable[[str], str]) -> Iterator[None]:
    """Mask in one more way whatever is said meanwhile."""
    _masks.append(way)
    try:
        yield
    finally:
        _masks.remove(way)


def mask(text: str) -> str:
    """Return a text without secrets and without the identifiers of the study at work."""
    masked = mask_secrets(text)
    for way in tuple(_masks):
        masked = way(masked)
    return masked


def mask_secrets(text: str) -> str:
    """Return a text without passwords: those of the environment, and any that its place betrays."""
    known, parts = _known(tuple(os.environ.items()))
    if known is not None:
        text = known.sub(MASK, text)
    for pattern in (_IN_ADDRESS, _IN_PAIR):
        text = pattern.sub(lambda found: found["before"] + MASK, text)
    # What is left of a setting that was cut or written in another way.
    return parts.sub(MASK, text) if parts is not None else text


def mask_error(error: BaseException) -> BaseException:
    """Mask an error, and all that it came from, in place; return it, or what stands for it.

    Some errors keep their text where nobody can change it: such a one is replaced, or as a cause left out.
    """
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or link.__context__
    for place, each in enumerate(links):
        for inner in each.exceptions if isinstance(each, BaseExceptionGroup) else ():
            mask_error(inner)
        if _is_masked(each):
            continue
        if place == 0:
            return RuntimeError(f"{type(error).__name__}: {mask(str(error))}")
        links[place - 1].__cause__ = links[place - 1].__context__ = None
        break
    return error


def _is_masked(error: BaseException) -> bool:
    if hasattr(error, "__notes__"):
        error.__notes__ = [mask(note) for note in error.__notes__]
    if mask(str(error)) != str(error):
        error.args = tuple(mask(part) if isinstance(part, str) else part for part in error.args)
    return mask(str(error)) == str(error)


@contextlib.contextmanager
def masked_errors() -> Iterator[None]:
    """Let an error out only when it is masked."""
    try:
        yield
    except Exception as error:
        masked = mask_error(error)
        if masked is error:
            raise
        raise masked from None


def mask_logs_and_tracebacks() -> None:
    """Mask, as a second line, whatever any library logs and the traceback of an unexpected error."""
    if not isinstance(logging.getLogRecordFactory(), _MaskedRecords):
        logging.setLogRecordFactory(_MaskedRecords(logging.getLogRecordFactory()))
        sys.excepthook = functools.partial(_show_masked, sys.excepthook)


class _MaskedRecords:
    """Make log records whose message and error are masked."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make

    def __call__(self, *arguments: Any, **more: Any) -> logging.LogRecord:
        record = self._make(*arguments, **more)
        try:
            text = record.getMessage()
        except (TypeError, ValueError):  # a message that does not fit its arguments: logging itself says so
            return record
        if (masked := mask(text)) != text:
            record.msg, record.args = masked, ()
        if record.exc_info and record.exc_info[1] is not None:
            error = mask_error(record.exc_info[1])
            record.exc_info = (type(error), error, record.exc_info[2])
        return record


def _show_masked(
    show: Callable[..., None], _kind: type[BaseException], error: BaseException, at: TracebackType | None
) -> None:
    masked = mask_error(error)
    show(type(masked), masked, at)


@functools.lru_cache(maxsize=4)
def _known(
    environment: tuple[tuple[str, str], ...],
) -> tuple[re.Pattern[str] | None, re.Pattern[str] | None]:
    """Return what finds every form of every secret of the environment: certain ones, and short ones."""
    secrets: set[str] = set()
    for name, value in environment:
        if _SECRET_VARIABLE.search(name):
            secrets |= {value, value.partition(":")[2]} if name.endswith("AUTH_STRING") else {value}
        secrets |= passwords_in(value)
    forms = {form for secret in secrets for form in _forms(secret) if len(form) >= TELLING}
    certain = sorted((re.escape(form) for form in forms if len(form) >= CERTAIN), key=len, reverse=True)
    short = sorted((re.escape(form) for form in forms if len(form) < CERTAIN), key=len, reverse=True)
    return (
        re.compile("|".join(certain)) if certain else None,
        re.compile(rf"(?<!\w)(?:{'|'.join(short)})(?!\w)") if short else None,
    )


def passwords_in(text: str) -> set[str]:
    """Return the passwords that an address or a connection string holds."""
    found = {match["secret"] for match in _IN_ADDRESS.finditer(text)}
    for match in _IN_PAIR.finditer(text):
        bare = re.sub(r"^(\\?['\"])(.*)\1$", r"\2", match["secret"], flags=re.DOTALL)
        found |= {match["secret"], bare, re.sub(r"\\(.)", r"\1", bare)}
    return found


def _forms(secret: str) -> set[str]:
    """Return the ways in which programs write a secret."""
    forms = set()
    for plain in {secret, unquote(secret)}:
        encoded = plain.encode(errors="surrogateescape")
        forms |= {
            plain,
            quote(plain, safe="", errors="surrogateescape"),
            quote(plain, errors="surrogateescape"),
            quote_plus(plain, errors="surrogateescape"),
            plain.replace("'", "''"),
            plain.replace("\\", "\\\\").replace("'", "\\'"),
            repr(plain)[1:-1],
            json.dumps(plain)[1:-1],
            base64.b64encode(encoded).decode(),
            base64.urlsafe_b64encode(encoded).decode(),
        }
    return forms | {form.lower() for form in forms if "%" in form}
