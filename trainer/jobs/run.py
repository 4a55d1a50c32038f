"""The job `run`: from the catalogue to the table and the plots."""

from __future__ import annotations

from pathlib import Path

from trainer.config import Config
from trainer.jobs import evaluate, plot, prepare, train

__all__ = ["run"]


def run(config: Config, workdir: Path) -> None:
    """Prepares, trains, evaluates and plots; whatever is there already and still fits is kept."""
    prepare.run(config, workdir)
    train.run(config, workdir)
    evaluate.run(config, workdir)
    plot.run(config, workdir)
