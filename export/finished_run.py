"""What `python -m trainer` left for an export."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from export.evaluation import run_metrics
from trainer.data.items import ID, IMAGE_PATH, LABEL, TEST, read_items
from trainer.errors import InputError
from trainer.evaluation.no_match import read_no_match

__all__ = ["FinishedRun"]

_log = logging.getLogger(__name__)


class FinishedRun:
    """What a finished run left of one model.

    Args:
        workdir: of the run.
        name: of the model.

    Attributes:
        checkpoint: file of the finished model.
        embeddings: file of the table of all items.
    """

    def __init__(self, workdir: Path, name: str) -> None:
        self.workdir, self.name = workdir, name
        self.checkpoint = workdir / "checkpoints" / name / "best.keras"
        self.embeddings = workdir / "embeddings" / f"{name}.parquet"

    def check(self) -> None:
        """Refuses a run that is not finished, before anything slow begins.

        Raises:
            InputError: the model has no checkpoint, it was not evaluated, or a file beside it is missing.
        """
        for path, job in ((self.checkpoint, "train"), (self.embeddings, "evaluate")):
            if not path.is_file():
                there = sorted(found.parent.name for found in (self.workdir / "checkpoints").glob("*/best.keras"))
                raise InputError(
                    f"expected {path}; there is none. Run python -m trainer {job} with this --workdir first, "
                    f"or give a --model it has ({', '.join(there) or 'it has none'})"
                )
        if not (self.workdir / "config.yaml").is_file():
            raise InputError(f"expected {self.workdir / 'config.yaml'} beside the run; there is none. Run train again")
        # Read now, that what cannot be read is told now.
        _ = self.items, self.metrics, self.words

    @cached_property
    def items(self) -> pd.DataFrame:
        """All items; see `read_items`."""
        return read_items(self.workdir)

    def pictures(self, ids: Iterable[str]) -> dict[str, Path]:
        """Id to picture, of those items whose pictures are there.

        Raises:
            InputError: some are asked for, and none is there.
        """
        paths = self.items.set_index(ID)[IMAGE_PATH]
        asked = {str(name): Path(paths[name]) for name in ids}
        there = {name: path for name, path in asked.items() if path.is_file()}
        if asked and not there:
            raise InputError(
                f"expected the pictures of {self.workdir}, such as {next(iter(asked.values()))}; none of {len(asked)} "
                "is there. Put them back where they were when the run was prepared"
            )
        if len(there) < len(asked):
            _log.warning(
                "%d of %d test pictures are not there; the others are asked", len(asked) - len(there), len(asked)
            )
        return there

    @cached_property
    def labels(self) -> list[str]:
        """Names of the classes, in the order of the model's logits."""
        from trainer.training.checkpoint import read_record

        labels = read_record(self.checkpoint).get("labels")
        if not labels:
            raise InputError(f"{self.checkpoint}: expected a finished model with label names; run train again")
        return [str(label) for label in labels]

    @cached_property
    def words(self) -> Path | None:
        """File of the text encoder that learnt this model's space; None where the model has learnt no words.

        Raises:
            InputError: it is of another state of the model.
        """
        from trainer.training.checkpoint import WORDS_FILE, read_progress, read_record

        path = self.checkpoint.with_name(WORDS_FILE)
        if not path.is_file():
            return None
        progress = read_progress(self.checkpoint)
        if progress is None or read_record(path).get("image_model") != progress.key:
            raise InputError(
                f"expected {path} to have learnt where {self.checkpoint.name} puts pictures, it learnt where another "
                "model does; run train again, or export with --set words=false"
            )
        return path

    @cached_property
    def text_attribute(self) -> str:
        """The attribute that holds the items' titles, or else the label."""
        from trainer.config import load_config

        words = load_config(self.workdir / "config.yaml").words
        return words.texts.title if words is not None and words.texts.title is not None else LABEL

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """Rows of `metrics.json`."""
        return run_metrics(self.workdir, self.name)

    @cached_property
    def no_match(self) -> dict[str, Any]:
        """The calibrated threshold of "no good match", as the manifest tells it; empty where there is none."""
        found = read_no_match(self.workdir, self.name)
        if found is None:
            return {}
        judged = found.on.get(TEST, found.on[found.calibrated_on])
        return {
            "threshold": found.threshold,
            "target": found.target,
            "calibrated_on": found.calibrated_on,
            "absent": found.absent,
            "precision": judged["precision"],
            "recall": judged["recall"],
        }

    @property
    def test_metrics(self) -> Mapping[str, Any]:
        """Of test queries among test items."""
        return next((row for row in self.metrics if row["split"] == row["gallery"] == TEST), {})
