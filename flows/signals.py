"""A signal ends the command as an error would: what is open is closed; the exit code is 128 + its number."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What neither ends nor listens for so long is cut off, as `kill -9` would do it: nothing is published half.
GRACE_SECONDS = 40.0

_received: list[signal.Signals] = []


class Ended(KeyboardInterrupt):
    """A signal asked the command to end."""


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Raise `Ended` where the command is when a signal comes; a second signal ends the process at once.

    Left to asyncio, Ctrl-C would only be heard at the next pause of a stage: after it has published.
    """
    # Those that are ignored, as SIGHUP under nohup, stay so.
    before = {number: signal.getsignal(number) for number in ENDING}
    ends = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    is_done = threading.Event()

    def end(number: int, _frame: FrameType | None) -> None:
        if is_done.is_set():  # all that remains is to put the handlers back
            return
        if _received:
            os._exit(exit_code(_received[0]))
        _received.append(signal.Signals(number))
        raise Ended

    threading.Thread(target=_cut_off, args=(reader, is_done), daemon=True).start()
    for number in ends:
        signal.signal(number, end)
    try:
        yield
    finally:
        is_done.set()
        for number, handler in ends.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        os.close(writer)
        _received.clear()


def received() -> signal.Signals | None:
    """Return the signal that ends this command, if one does."""
    return _received[0] if _received else None


def exit_code(number: int | None) -> int:
    return 128 + (number or signal.SIGINT)


def leave() -> None:
    """Let a signal end the process at once: all is done, and a server of ours notices that we are gone."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _cut_off(reader: int, is_done: threading.Event) -> None:
    """Wait beside the command: a step inside a library may hear of no signal for long."""
    while told := os.read(reader, 1):
        if told[0] in ENDING and not is_done.wait(GRACE_SECONDS):
            os._exit(exit_code(told[0]))
    os.close(reader)
