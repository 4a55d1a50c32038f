"""The job `plot`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from joblib import Parallel, delayed
from tqdm import tqdm

from trainer.config import Config
from trainer.data.items import SPLIT
from trainer.errors import InputError
from trainer.evaluation import confusion_matrix
from trainer.evaluation.analyses import analysis_path
from trainer.jobs.evaluate import embeddings_path
from trainer.plots import (
    plot_confusion,
    plot_embedding_map,
    plot_retrieval_grid,
    plot_training_curves,
    plot_word_grid,
)
from trainer.retrieval import EmbeddingTable, find_neighbours, own_rows

__all__ = ["run"]

_NEIGHBOURS = 8

Task = Callable[[], Path]


def run(config: Config, workdir: Path) -> None:
    """Draws into `plots/`: confusion matrices, embedding maps, training curves, queries with their neighbours, words
    with the pictures they find.

    Pictures show the last split that the configuration evaluates, and that has items. Several are drawn at once.

    Raises:
        InputError: `evaluate` has not run.
    """
    tasks = [*_model_tasks(config, workdir), *_history_tasks(config, workdir)]
    drawn = Parallel(n_jobs=min(os.cpu_count() or 1, len(tasks)), return_as="generator")(delayed(t)() for t in tasks)
    paths = list(tqdm(drawn, desc="plots", total=len(tasks), unit="plot", leave=False))
    for path in paths:
        if path.name.startswith("neighbours"):
            print(f"neighbours: {path}")
    print(f"all plots: {workdir / 'plots'}")


def _model_tasks(config: Config, workdir: Path) -> Iterator[Task]:
    folder = workdir / "plots"
    for name in (*config.evaluate.baselines, *config.model.names):
        path = embeddings_path(workdir, name)
        if not path.is_file():
            raise InputError(f"expected embeddings at {path}; there are none. Run evaluate first")
        table = _shown(config, EmbeddingTable.read_parquet(path))
        yield partial(_draw_neighbours, table, folder / f"neighbours-{name}.png", config.seed)
        if "predicted_label" not in table.attributes:
            continue
        yield from _word_tasks(workdir, name)
        confusion = confusion_matrix(table.labels, table.attributes["predicted_label"])
        yield partial(plot_confusion, confusion, folder / f"confusion-{name}.png")
        for method in ("pca", "tsne") if name in _with_tsne(config) else ("pca",):
            for dimensions in (2, 3):
                file = folder / f"map-{name}-{method}-{dimensions}d.png"
                yield partial(plot_embedding_map, table, file, method=method, dimensions=dimensions, seed=config.seed)


def _word_tasks(workdir: Path, name: str) -> Iterator[Task]:
    path = analysis_path(workdir, name, "words")
    if not path.is_file():
        return
    try:
        examples = json.loads(path.read_text(encoding="utf-8"))["examples"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"expected what evaluate writes at {path}, it cannot be read; run evaluate again") from error
    if examples:
        yield partial(plot_word_grid, examples, workdir / "plots" / f"words-{name}.png")


def _with_tsne(config: Config) -> tuple[str, ...]:
    names = config.model.names
    return {"none": (), "last": names[-1:], "all": names}[config.evaluate.tsne]


def _shown(config: Config, table: EmbeddingTable) -> EmbeddingTable:
    present = set(table.attributes[SPLIT])
    split = next((split for split in reversed(config.evaluate.splits) if split in present), None)
    if split is None:
        raise InputError(f"evaluate.splits: expected a split with items, received {', '.join(config.evaluate.splits)}")
    return table.select(table.attributes[SPLIT] == split)


def _draw_neighbours(table: EmbeddingTable, path: Path, seed: int) -> Path:
    found = find_neighbours(table, table, min(_NEIGHBOURS, len(table) - 1), exclude=own_rows(table, table))
    return plot_retrieval_grid(table, table, found, path, seed=seed)


def _history_tasks(config: Config, workdir: Path) -> Iterator[Task]:
    models = {*config.model.names, *config.model.backbones}
    files = sorted(workdir.glob("checkpoints/*/*/history.csv"))
    histories = {f"{f.parent.parent.name}/{f.parent.name}": f for f in files if f.parent.parent.name in models}
    if histories:
        yield partial(plot_training_curves, histories, workdir / "plots" / "training.png")
