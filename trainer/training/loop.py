"""The training loop: one stage of one model, under any strategy, to be stopped and gone on with at any step.

Why not `keras.Model.fit`: it cannot begin in the middle of an epoch, clips each replica's gradient before they are
summed (so that two devices do not give what one gives), and fails under `MultiWorkerMirroredStrategy` with a
distributed data set (Keras 3.15). Model, optimiser, schedules and checkpoints are Keras's all the same.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from trainer.config import StageConfig
from trainer.errors import InputError
from trainer.files import write_text
from trainer.training.checkpoint import Progress, read_progress, restore, save_checkpoint
from trainer.training.interrupt import Interrupt, interrupt_at_safe_place
from trainer.training.optimizer import build_optimizer, multipliers
from trainer.training.strategy import is_chief, local_share
from trainer.training.task import Task

__all__ = ["train_task"]

_log = logging.getLogger(__name__)


def train_task(
    name: str,
    task: Task,
    stage: StageConfig,
    folder: Path,
    key: str,
    strategy: tf.distribute.Strategy | None = None,
) -> tuple[dict[str, float], ...]:
    """Trains one stage, going on from its last checkpoint, and leaves what is trained with its best weights.

    Args:
        name: for logs and messages, such as `fused/head`.
        task: what is learnt; its weights were made under the strategy's scope.
        stage: its settings; at least one epoch.
        folder: for `last.keras`, `best.keras`, `history.csv` and `tensorboard/`.
        key: digest of what the result depends on; a checkpoint with another key is begun anew.
        strategy: see `trainer.training.strategy.build_strategy`.

    Returns:
        One row of figures an epoch: `epoch, loss, accuracy, learning_rate, seconds`, and what the task validates with.

    Raises:
        InputError: the loss is not finite, or the folder cannot be written; the last checkpoint stays whole.
        KeyboardInterrupt: Ctrl-C, after a checkpoint was written.
    """
    run = _StageRun(name, task, stage, folder, key, strategy or tf.distribute.get_strategy())
    with interrupt_at_safe_place() as interrupt:
        history = run.run(interrupt)
    if interrupt.asked:  # after the last step
        raise KeyboardInterrupt
    return history


class _StageRun:
    def __init__(
        self,
        name: str,
        task: Task,
        stage: StageConfig,
        folder: Path,
        key: str,
        strategy: tf.distribute.Strategy,
    ) -> None:
        self.name, self.task, self.stage, self.strategy = name, task, stage, strategy
        self.folder, self.key = folder, key
        self.share = local_share(strategy, stage.batch_size, f"{name}: batch_size")
        self.updates_per_epoch = max(1, round(task.count / (stage.batch_size * stage.accumulate)))
        self.batches_per_epoch = self.updates_per_epoch * stage.accumulate
        factors = multipliers(list(task.weights), stage.layers)
        self.weights = [weight for weight, factor in zip(task.weights.values(), factors, strict=True) if factor > 0.0]
        if not self.weights:
            raise InputError(f"{name}: layers freezes every weight; leave the stage out with epochs: 0 instead")
        with strategy.scope():
            self.optimizer = self._compile([factor for factor in factors if factor > 0.0])
        self.update = tf.function(self._update)
        self.chief = is_chief(strategy)

    def _compile(self, factors: Sequence[float]) -> keras.optimizers.Optimizer:
        stage = self.stage
        optimizer: Any = build_optimizer(stage, stage.epochs * self.updates_per_epoch, self.updates_per_epoch, factors)
        if keras.config.dtype_policy().compute_dtype == "float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        self.task.trainee.compile(optimizer=optimizer, jit_compile=False)
        optimizer.build(self.weights)
        return optimizer

    def run(self, interrupt: Interrupt) -> tuple[dict[str, float], ...]:
        last, best = self.folder / "last.keras", self.folder / "best.keras"
        progress = read_progress(last)
        if progress is None or progress.key != self.key:
            progress = Progress(self.key)
        else:
            restore(self.task.trainee, best if progress.finished else last)
            _log.info("%s: %s at epoch %d", self.name, "finished" if progress.finished else "going on", progress.epoch)
        if not progress.finished:
            progress = self._train(progress, interrupt)
            self._wait_for_all()
            restore(self.task.trainee, best)
        return progress.history

    def _train(self, progress: Progress, interrupt: Interrupt) -> Progress:
        if not progress.best and progress.batch == 0:
            progress = self._judge_start(progress)
        self._refresh(progress)
        iterator = iter(self._stream(progress.batch))
        writer = tf.summary.create_file_writer(str(self.folder / "tensorboard")) if self.chief else None
        while not progress.finished:
            progress = self._epoch(progress, iterator, interrupt)
            if interrupt.asked:
                self._save(progress)
                _log.warning("%s: interrupted; the same command goes on from %s", self.name, self.folder / "last.keras")
                raise KeyboardInterrupt
            progress = self._end_of_epoch(progress, writer)
            if not progress.finished and self._refresh(progress):
                iterator = iter(self._stream(progress.batch))
        return progress

    def _refresh(self, progress: Progress) -> bool:
        """Whether other rows come from now on; see `Task.refresh`."""
        refresh = self.task.refresh
        if refresh is None:
            return False
        begins = progress.batch == progress.epoch * self.batches_per_epoch
        changed = self.chief and refresh(progress.epoch, begins)
        self._wait_for_all()  # the others read what the chief has written
        return changed if self.chief else refresh(progress.epoch, False)

    def _judge_start(self, progress: Progress) -> Progress:
        """Where training never gets better than the start, the start is the best."""
        self.task.begin()
        figures = self.task.validate()
        if not figures:
            return progress
        if self.chief:
            save_checkpoint(self.task.trainee, self.folder / "best.keras")
        _log.info("%s starts at %s", self.name, _shown(figures))
        return dataclasses.replace(progress, best=self._score(figures))

    def _score(self, figures: Mapping[str, float]) -> tuple[float, float]:
        """By which results are compared: higher is better. Without validation, that of training."""
        if not any(name.startswith("val_") for name in figures):
            return figures["accuracy"], -figures["loss"]
        return self.task.score(figures)

    def _wait_for_all(self) -> None:
        # The chief has written the best checkpoint that every worker is about to read.
        if self.strategy.num_replicas_in_sync > 1:
            together = tf.function(lambda: tf.distribute.get_replica_context().all_reduce("SUM", tf.constant(1.0)))
            self.strategy.run(together)

    def _stream(self, first_batch: int) -> Any:
        if self.strategy.num_replicas_in_sync == 1:
            return self.task.batches(self.share, first_batch)
        return self.strategy.distribute_datasets_from_function(lambda _: self.task.batches(self.share, first_batch))

    def _epoch(self, progress: Progress, iterator: Any, interrupt: Interrupt) -> Progress:
        begun = time.monotonic()
        end = (progress.epoch + 1) * self.batches_per_epoch
        sums = np.asarray(progress.sums, np.float64)
        label = f"{self.name} epoch {progress.epoch + 1}/{self.stage.epochs}"
        with tqdm(total=self.batches_per_epoch, desc=label, unit="batch", leave=False, disable=not self.chief) as bar:
            bar.update(self.batches_per_epoch - (end - progress.batch))
            batch = progress.batch
            while batch < end and not interrupt.asked:
                sums += self.update(iterator).numpy()
                if not np.isfinite(sums[0]):
                    raise InputError(
                        f"{self.name}: the loss is not finite in epoch {progress.epoch + 1}; expected a lower "
                        "learning_rate, a higher clip_norm setting than 0, or precision float32"
                    )
                batch += self.stage.accumulate
                bar.update(self.stage.accumulate)
        self._seconds = time.monotonic() - begun
        return dataclasses.replace(progress, batch=batch, sums=tuple(float(value) for value in sums))

    def _update(self, iterator: Any) -> tf.Tensor:
        batches = [next(iterator) for _ in range(self.stage.accumulate)]
        per_replica = self.strategy.run(self._replica_update, args=(batches,))
        return self.strategy.reduce("SUM", per_replica, axis=None)

    def _replica_update(self, batches: list[dict[str, Any]]) -> tf.Tensor:
        gradients: list[Any] = []
        sums = tf.zeros(3)
        for batch in batches:
            found, figures = self._gradients(batch)
            gradients = found if not gradients else [a + b for a, b in zip(gradients, found, strict=True)]
            sums += figures
        self.optimizer.apply(self._clipped(gradients), self.weights)
        return sums

    def _gradients(self, batch: dict[str, Any]) -> tuple[list[Any], tf.Tensor]:
        rows = float(self.stage.batch_size * self.stage.accumulate)
        with tf.GradientTape() as tape:
            losses, right = self.task.losses(batch)
            extra = tf.add_n([tf.cast(loss, tf.float32) for loss in self.task.trainee.losses] or [tf.constant(0.0)])
            share = extra / (self.strategy.num_replicas_in_sync * self.stage.accumulate)
            loss = tf.reduce_sum(losses) / rows + share
            scaled = self.optimizer.scale_loss(loss)
        figures = [
            tf.reduce_sum(losses),
            tf.reduce_sum(tf.cast(right, tf.float32)),
            tf.cast(tf.shape(losses)[0], tf.float32),
        ]
        found = tape.gradient(scaled, [weight.value for weight in self.weights], unconnected_gradients="zero")
        # A hub module may gather rows of a variable, which gives a sparse gradient, or leave one out.
        return [tf.convert_to_tensor(gradient) for gradient in found], tf.stack(figures)

    def _clipped(self, gradients: list[Any]) -> list[Any]:
        if not self.stage.clip_norm:
            return gradients
        replicas = self.strategy.num_replicas_in_sync
        limit = self.optimizer.scale_loss(tf.constant(self.stage.clip_norm))
        if replicas > 1:
            gradients = tf.distribute.get_replica_context().all_reduce("SUM", gradients)
        clipped, _ = tf.clip_by_global_norm(gradients, limit)
        # The optimiser sums over replicas; what is summed already must be divided first.
        return [gradient / replicas for gradient in clipped] if replicas > 1 else clipped

    def _end_of_epoch(self, progress: Progress, writer: Any) -> Progress:
        epoch = progress.epoch + 1
        trained = [weight.numpy() for weight in self.weights] if self.stage.ema else None
        if trained is not None:
            self._averaging_optimizer().finalize_variable_values(self.weights)
        validation = self.task.validate()
        loss, right, count = progress.sums
        row = {
            "epoch": epoch,
            "loss": loss / count,
            "accuracy": right / count,
            **validation,
            "learning_rate": float(self._averaging_optimizer().learning_rate),
            "seconds": round(self._seconds, 2),
        }
        score = self._score(row)
        better = not progress.best or score > progress.best
        kept = better or self.stage.keep == "last"
        waited = 0 if better else progress.waited + 1
        over = epoch >= self.stage.epochs or bool(self.stage.patience and waited >= self.stage.patience)
        progress = dataclasses.replace(
            progress,
            epoch=epoch,
            best=score if better else progress.best,
            waited=waited,
            history=(*progress.history, row),
            sums=(0.0, 0.0, 0.0),
            finished=over,
        )
        if kept and self.chief:
            save_checkpoint(self.task.trainee, self.folder / "best.keras")
        if trained is not None:
            for weight, value in zip(self.weights, trained, strict=True):
                weight.assign(value)
        self._save(progress)
        self._report(row, writer)
        return progress

    def _averaging_optimizer(self) -> keras.optimizers.Optimizer:
        return getattr(self.optimizer, "inner_optimizer", self.optimizer)

    def _save(self, progress: Progress) -> None:
        if self.chief:
            save_checkpoint(self.task.trainee, self.folder / "last.keras", progress)
            table = io.StringIO()
            if progress.history:
                out = csv.DictWriter(table, list(progress.history[0]))
                out.writeheader()
                out.writerows(progress.history)
                write_text(self.folder / "history.csv", table.getvalue())

    def _report(self, row: dict[str, float], writer: Any) -> None:
        if writer is None:
            return
        with writer.as_default(step=int(row["epoch"])):
            for name, value in row.items():
                tf.summary.scalar(name, value)
        writer.flush()
        _log.info(
            "%s epoch %d/%d: %s (%.1f s)", self.name, row["epoch"], self.stage.epochs, _shown(row), row["seconds"]
        )


def _shown(row: dict[str, float]) -> str:
    hidden = ("epoch", "learning_rate", "seconds")
    return ", ".join(f"{name} {value:.4f}" for name, value in row.items() if name not in hidden)
