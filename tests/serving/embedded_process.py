"""Runs test programs, and embedded servers in processes of their own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["EmbeddedProcess", "embedded_process", "run_program"]

ROOT = Path(__file__).parents[2]
SERVE = (
    "import argparse, sys; from serving.server import command; parser = argparse.ArgumentParser(); "
    "command.add_arguments(parser); sys.exit(command.run(parser.parse_args()))"
)
START_SECONDS = 120


@dataclass
class EmbeddedProcess:
    """A running server: addresses of gRPC and REST (empty without), and the process."""

    address: str
    rest_address: str
    process: subprocess.Popen[str]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal and waits for the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


def run_program(program: Path, *arguments: str) -> None:
    """Runs a test program in a process of its own, so that this one needs no TensorFlow."""
    command = [sys.executable, str(program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=_environment(), check=False)
    assert done.returncode == 0, done.stderr[-4000:]


@contextlib.contextmanager
def embedded_process(exports: Path, *flags: str) -> Iterator[EmbeddedProcess]:
    """An embedded server on free ports, with REST; killed at the end if it still runs."""
    ports = ["--port", "0", "--rest-port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(exports), *ports, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=_environment(),
    )
    told: list[str] = []
    assert process.stdout is not None and process.stderr is not None
    errors = process.stderr
    listening = threading.Thread(target=lambda: told.extend(errors), daemon=True)
    listening.start()
    killer = threading.Timer(START_SECONDS, process.kill)
    killer.start()
    try:
        line = process.stdout.readline()
        killer.cancel()
        found = re.fullmatch(r"serving grpc=(\S+) rest=(\S+)\n", line)
        if found is None:
            process.wait(timeout=60)
            listening.join(timeout=10)
            raise AssertionError(f"exit code {process.returncode}: {line}{''.join(told)[-4000:]}")
        yield EmbeddedProcess(found[1], found[2], process)
    finally:
        killer.cancel()
        if process.poll() is None:
            process.kill()
            process.wait(timeout=60)
        listening.join(timeout=10)
        process.stdout.close()
        process.stderr.close()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
