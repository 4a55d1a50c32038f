"""Ctrl-C that ends the work at the next safe place."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["Interrupt", "interrupt_at_safe_place"]


class Interrupt:
    """Whether the user has asked to stop."""

    def __init__(self) -> None:
        self.asked = False


@contextlib.contextmanager
def interrupt_at_safe_place() -> Iterator[Interrupt]:
    """The first Ctrl-C only sets `asked`, so that a step can end and a checkpoint be written; the second one raises.

    Outside of the main thread, where Python delivers no signals, it does nothing.
    """
    state = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield state
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if state.asked:
            raise KeyboardInterrupt
        state.asked = True

    former = signal.signal(signal.SIGINT, ask)
    try:
        yield state
    finally:
        signal.signal(signal.SIGINT, former)
