"""The job `run`: from the catalogue to the table, the plots and the report."""

from __future__ import annotations

from pathlib import Path

from trainer.config import Config
from trainer.jobs import evaluate, plot, prepare, report, train
from trainer.workdir import is_first_worker

__all__ = ["run"]


def run(config: Config, workdir: Path) -> None:
    """Prepares, trains, evaluates, plots and reports; whatever is there already and still fits is kept.

    Of the workers of a distributed run only the first does more than train. The others wait for it where
    training begins, since the strategy starts when all workers are there.
    """
    first = is_first_worker(config)
    if first:
        prepare.run(config, workdir)
    train.run(config, workdir)
    if first:
        evaluate.run(config, workdir)
        plot.run(config, workdir)
        report.write(config, workdir)
