"""Where the installed `trialhouse` command begins: a signal is answered while the libraries still load."""

from __future__ import annotations

import sys

from flows import signals


def main() -> None:
    with signals.listening():
        try:
            from flows import cli
        except signals.Ended:
            sys.stderr.write("trialhouse: ended by a signal before anything was done\n")
            sys.exit(signals.exit_code(signals.received()))
    try:
        cli.main()
    finally:
        signals.leave()


if __name__ == "__main__":
    main()
