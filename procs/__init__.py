"""Floor 6: one file per process: settings, adapters, service. Never holds a decision.

When one of these modules is run (``python3 -m procs.NAME``), stop signals are caught from here on, before any slow
import: a stop that comes 50 ms after the start is then remembered instead of killing a half-started process.
"""

import signal
import sys

_stop_signals: list[int] = []


def stop_requested() -> bool:
    """Tell whether a stop signal came since this process started."""
    return bool(_stop_signals)


def remember_stop_signals() -> None:
    """Catch stop signals from now on, for whoever asks ``stop_requested``."""
    signal.signal(signal.SIGTERM, _remember)
    signal.signal(signal.SIGINT, _remember)


def _remember(number: int, frame: object) -> None:
    _stop_signals.append(number)


# While ``python -m`` looks for the module to run, and only then, the first argument is "-m".
if sys.argv[:1] == ["-m"]:
    remember_stop_signals()
