"""The job `train`."""

from __future__ import annotations

from pathlib import Path

from trainer.config import Config

__all__ = ["run"]


def run(config: Config, workdir: Path) -> None:
    """Trains the configured models; see `trainer.training.stages.train_models`.

    Raises:
        InputError: `prepare` has not run, a weights file or hub module is wrong, or the work directory is full.
    """
    from trainer.training.run_context import RunContext
    from trainer.training.stages import train_models

    train_models(RunContext.open(config, workdir))
