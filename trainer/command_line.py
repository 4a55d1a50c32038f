"""What every command line of the project shares: one-line errors, the log, exit codes. Imports nothing heavy."""

from __future__ import annotations

import argparse
import logging
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from trainer.errors import InputError

__all__ = ["OneLineParser", "exit_code", "log_to_stderr"]


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other error is said."""

    def error(self, message: str) -> NoReturn:
        """Ends with exit code 2."""
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def log_to_stderr(quiet: bool) -> None:
    """Shows our messages, or only warnings of ours, and of the libraries only errors."""
    logging.basicConfig(level=logging.WARNING if quiet else logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.captureWarnings(True)
    for noisy in ("py.warnings", "absl", "tensorflow", "h5py", "matplotlib", "PIL"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def exit_code(work: Callable[[], int | None], *, interrupted: str) -> int:
    """Does a job and says how it ended.

    Args:
        work: the job; may answer an exit code of its own.
        interrupted: what holds after an interruption, for the message.

    Returns:
        The job's own code or 0; 2 for the user's input, 130 interrupted, 1 our fault, with its traceback.
    """
    try:
        return work() or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; {interrupted}", file=sys.stderr)
        return 130
    except Exception:  # whatever is left is our fault: say so, and give what a report needs
        traceback.print_exc()
        print(
            "error: this is a fault of shoppin, not of your input; please report it with the lines above",
            file=sys.stderr,
        )
        return 1
