"""The first Ctrl-C asks, the second one stops."""

from __future__ import annotations

import signal
import threading

import pytest

from trainer.training.interrupt import interrupt_at_safe_place


def test_the_first_ctrl_c_only_asks() -> None:
    former = signal.getsignal(signal.SIGINT)
    with interrupt_at_safe_place() as interrupt:
        assert not interrupt.asked
        signal.raise_signal(signal.SIGINT)
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is former


def test_the_former_handler_comes_back_after_an_error() -> None:
    former = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError), interrupt_at_safe_place():
        raise RuntimeError
    assert signal.getsignal(signal.SIGINT) is former


def test_another_thread_has_no_ctrl_c() -> None:
    seen: list[bool] = []

    def work() -> None:
        with interrupt_at_safe_place() as interrupt:
            seen.append(interrupt.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
