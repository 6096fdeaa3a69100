"""Whether bytes that are not UTF-8 are cp1252: judged by all of them, never by the first that decodes.

Every byte string decodes in some code page, so what decodes says nothing. Two kinds of evidence do:

* A valid sequence of several bytes hardly ever occurs in text of another encoding; beside bytes that are not
  UTF-8 it shows a damaged UTF-8 file, or one of two encodings.
* Western text in cp1252 has its letters with accents in words of ASCII letters, one or two in a row, and its
  signs at the edges of words. Other code pages (mac-roman, cp437, cp1250, cp1251, Shift-JIS, GBK) and the
  halves of a UTF-8 character put signs and capitals into the middle of words, make long runs, or use bytes
  that cp1252 leaves undefined.

What this cannot tell: a text of few letters that are as plausible in cp1252, such as Czech letters in cp1250,
Turkish ones in cp1254, or n with a tilde in mac-roman, which becomes a dash. The characters that were made
are named for a reader to see.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WINDOWS = "cp1252"
SHOWN = 20
_MULTIBYTE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]"
    rb"|\xe0[\xa0-\xbf][\x80-\xbf]|\xed[\x80-\x9f][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}"
    rb"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
_LETTER = "A-Za-zŠŒŽšœžŸÀ-ÖØ-öø-ÿ"
# Quotes, dashes, (R), (TM), micro and plus-minus, times and degree stand within words in real texts, too.
_WITHIN = "\u2019\u2018\u2013\u2014·®™µ±\xd7°"
_SIGN = f"[^\\x00-\\x7f{_LETTER}{_WITHIN}]"
# Opening marks, currencies, fractions and bare accents do not follow a letter; an accent written for an
# apostrophe does.
_NOT_AFTER = "\u201aƒ„†‡\u02c6‰\u2039\u02dc¡¢£¤¥¦¨©¬\xad¯¶\xb8¼½¾¿÷"
_UNLIKE_WINDOWS = re.compile(
    rf"[a-zß-öø-ÿ][ŠŒŽŸÀ-ÖØ-Þ]"
    rf"|[{_LETTER}](?:(?!\xb4s\b){_SIGN}[{_LETTER}]|[{_NOT_AFTER}])"
    rf"|[^\x00-\x7f]{{3}}"
    rf"|[\x80-\x9f]"
)
_TABLE = "".join(
    bytes([value]).decode(WINDOWS, errors="ignore") or bytes([value]).decode("latin-1")
    for value in range(256)
)
_HIGH = re.compile(r"[^\x00-\x7f]+")
# Enough of the text around a byte to judge it, where a line is longer than a chunk.
_LONGEST_CARRY = 1 << 16


@dataclass(slots=True)
class Verdict:
    """What the bytes outside ASCII show; `unlike_windows` is the position of the first that is not cp1252."""

    multibyte: int = 0
    unlike_windows: int | None = None
    characters: Counter[str] = field(default_factory=Counter)

    @property
    def is_damaged_utf8(self) -> bool:
        return self.multibyte > 0

    def shown(self) -> str:
        """Return the characters that reading as cp1252 makes, most frequent first."""
        named = [f"{character} ({count})" for character, count in self.characters.most_common(SHOWN)]
        return ", ".join(named) + (" ..." if len(self.characters) > SHOWN else "")


def judge(chunks: Iterable[bytes]) -> Verdict:
    """Weigh bytes of which some are not UTF-8."""
    verdict = Verdict()
    for start, block in _blocks(chunks):
        if block.isascii():
            continue
        verdict.multibyte += len(_MULTIBYTE.findall(block))
        # An undefined byte becomes the control character of its number, so that places stay.
        text = codecs.charmap_decode(block, "strict", _TABLE)[0]
        verdict.characters.update("".join(_HIGH.findall(text)))
        if verdict.unlike_windows is None and (found := _UNLIKE_WINDOWS.search(text)):
            place = next(place for place in range(found.start(), found.end()) if block[place] > 0x7F)  # noqa: PLR2004
            verdict.unlike_windows = start + place
    return verdict


def _blocks(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the bytes with their place, cut where a blank or a line end is, so that words stay whole."""
    start, carried = 0, b""
    for chunk in chunks:
        block = carried + chunk
        cut = max(block.rfind(b"\n"), block.rfind(b" ")) + 1
        if not cut:
            cut = max(0, len(block) - _LONGEST_CARRY)
        yield start, block[:cut]
        start, carried = start + cut, block[cut:]
    yield start, carried
