"""The job `plot`."""

from __future__ import annotations

import logging
from pathlib import Path

from trainer.config import Config
from trainer.data.items import SPLIT
from trainer.errors import InputError
from trainer.evaluation import confusion_matrix
from trainer.jobs.evaluate import embeddings_path
from trainer.plots import plot_confusion, plot_embedding_map, plot_retrieval_grid, plot_training_curves
from trainer.retrieval import EmbeddingTable, find_neighbours, own_rows

__all__ = ["run"]

_log = logging.getLogger(__name__)


def run(config: Config, workdir: Path) -> None:
    """Draws into `plots/`: confusion matrices, embedding maps, training curves, queries with their neighbours.

    Pictures show the last split that the configuration evaluates.

    Raises:
        InputError: `evaluate` has not run.
    """
    folder = workdir / "plots"
    split = config.evaluate.splits[-1]
    for name in (*config.evaluate.baselines, *config.model.names):
        path = embeddings_path(workdir, name)
        if not path.is_file():
            raise InputError(f"expected embeddings at {path}; there are none. Run evaluate first")
        table = EmbeddingTable.read_parquet(path)
        table = table.select(table.attributes[SPLIT] == split)
        _model_plots(config, name, table, folder)
    histories = {
        f"{file.parent.parent.name}/{file.parent.name}": file
        for file in sorted(workdir.glob("checkpoints/*/*/history.csv"))
        if file.parent.parent.name in config.model.names or file.parent.parent.name in config.model.backbones
    }
    if histories:
        plot_training_curves(histories, folder / "training.png")
    print(f"plots: {folder}")


def _model_plots(config: Config, name: str, table: EmbeddingTable, folder: Path) -> None:
    neighbours = find_neighbours(table, table, min(8, len(table) - 1), exclude=own_rows(table, table))
    grid = plot_retrieval_grid(table, table, neighbours, folder / f"neighbours-{name}.png", seed=config.seed)
    print(f"neighbours: {grid}")
    if "predicted_label" not in table.attributes:
        return
    plot_confusion(
        confusion_matrix(table.labels, table.attributes["predicted_label"]), folder / f"confusion-{name}.png"
    )
    for method in ("pca", "tsne") if config.evaluate.tsne else ("pca",):
        for dimensions in (2, 3):
            path = folder / f"map-{name}-{method}-{dimensions}d.png"
            plot_embedding_map(table, path, method=method, dimensions=dimensions, seed=config.seed)
