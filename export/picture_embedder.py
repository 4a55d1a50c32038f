"""Embeds pictures with an exported encoder, each once: what is computed is on disk at once and found again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from joblib import Parallel, cpu_count, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from export.catalogue import UNKNOWN_PICTURE
from export.exported_encoder import ExportedEncoder
from trainer.data.picture_checks import find_pictures
from trainer.data.pictures import PictureRecord, Rejection, check_pictures
from trainer.data.row_store import RowStore
from trainer.errors import InputError

__all__ = ["MISSING", "NO_EMBEDDING", "PictureEmbedder"]

MISSING = "missing"
NO_EMBEDDING = "no_embedding"
"""The encoder's graph cannot read the picture, or sees nothing in it."""

# Starting processes costs more than a few pictures do.
_ALONE = 256
_CHECKED_AT_ONCE = 32


class PictureEmbedder:
    """Vectors of pictures, by the SHA-256 of their files.

    Args:
        encoder: embeds.
        work: folder of the vectors and of plain copies of unusual pictures.
        batch_size: pictures that are embedded at once; their vectors are on disk after each batch.
        workers: processes that check pictures.
    """

    def __init__(
        self, encoder: ExportedEncoder, work: Path, *, batch_size: int = 32, workers: int | None = None
    ) -> None:
        self._encoder, self._work, self._batch_size = encoder, work, batch_size
        self._workers = workers or cpu_count()
        manifest = encoder.manifest
        self._max_pixels = int(manifest.preprocessing.get("max_pixels", 89_478_485))
        # Vectors of one encoder in another precision are not quite the same.
        folder = work / "vectors" / f"{manifest.fingerprint[:32]}-{manifest.precision}"
        folder.mkdir(parents=True, exist_ok=True)
        self._store = RowStore(folder, (encoder.embedding_dim,), np.float32)
        self.embedded = 0

    @property
    def dimension(self) -> int:
        """D, the length of a vector."""
        return self._encoder.embedding_dim

    def remember(self, digests: Sequence[bytes], vectors: np.ndarray) -> None:
        """Takes over vectors `[n, D]` that the same encoder has made before, of pictures with these digests."""
        news = {digest: at for at, digest in enumerate(digests) if digest != UNKNOWN_PICTURE and not self._has(digest)}
        if news:
            self._store.append(news, vectors[list(news.values())])

    def vectors(self, digests: Sequence[bytes]) -> np.ndarray:
        """Vectors float32 `[n, D]` of pictures that have one."""
        if not digests:
            return np.empty((0, self._encoder.embedding_dim), np.float32)
        return np.asarray(self._store.array[self._store.rows(digests)])

    def embed(self, paths: Sequence[str]) -> Iterator[list[tuple[int, bytes, str]]]:
        """Sees to it that pictures have vectors.

        Args:
            paths: of the files.

        Yields:
            As it goes on, of some of the pictures: the place in `paths`, the SHA-256 of the file, and nothing, or why
            it cannot be used. Each place comes once; what had come is kept when this is ended from outside.

        Raises:
            InputError: a process was ended from outside, or the disk is full.
        """
        known, waiting = self._look(paths)
        yield known
        by_path: dict[str, list[int]] = {}
        for place in waiting:
            by_path.setdefault(paths[place], []).append(place)
        with TemporaryDirectory(prefix="plain-", dir=self._work) as plain:
            batch: list[PictureRecord] = []
            for record in self._checked(list(by_path), Path(plain)):
                if record.reason:
                    yield [(place, b"", str(record.reason)) for place in by_path[record.source_path]]
                    continue
                batch.append(record)
                if len(batch) == self._batch_size:
                    yield self._embed(batch, by_path)
                    batch = []
            if batch:
                yield self._embed(batch, by_path)

    def _has(self, digest: bytes) -> bool:
        try:
            return len(self._store.rows([digest])) == 1
        except KeyError:
            return False

    def _look(self, paths: Sequence[str]) -> tuple[list[tuple[int, bytes, str]], list[int]]:
        """What is known of the pictures without decoding them, and the places of the others."""
        known: list[tuple[int, bytes, str]] = []
        waiting: list[int] = []
        found = find_pictures(paths)
        for place, (missing, reason) in enumerate(zip(found["missing"], found["reason"], strict=True)):
            if missing or reason:
                known.append((place, b"", MISSING if missing else str(reason)))
                continue
            digest = _digest(paths[place])
            if digest is not None and self._has(digest):
                known.append((place, digest, ""))
            elif digest is None:
                known.append((place, b"", str(Rejection.UNREADABLE)))
            else:
                waiting.append(place)
        return known, waiting

    def _checked(self, paths: list[str], plain: Path) -> Iterator[PictureRecord]:
        batches = [paths[at : at + _CHECKED_AT_ONCE] for at in range(0, len(paths), _CHECKED_AT_ONCE)]
        if self._workers == 1 or len(paths) < _ALONE:
            for batch in batches:
                yield from check_pictures(batch, plain, self._max_pixels)
            return
        # Fresh processes: a fork of one in which TensorFlow has started its threads may hang.
        pool = Parallel(n_jobs=self._workers, backend="loky", return_as="generator", batch_size=1)
        try:
            for records in pool(delayed(check_pictures)(batch, plain, self._max_pixels) for batch in batches):
                yield from records
        except TerminatedWorkerError as error:
            raise InputError(
                "a process that checks pictures was ended from outside, most often for lack of memory; run the same "
                "command again: what was embedded is kept"
            ) from error

    def _embed(self, batch: Sequence[PictureRecord], by_path: dict[str, list[int]]) -> list[tuple[int, bytes, str]]:
        contents = [_read(record.image_path) for record in batch]
        vectors, spoilt = self._encoder.embed_contents(contents)
        digests = [bytes.fromhex(record.sha256) for record in batch]
        for place, record in enumerate(batch):  # a file that was written to meanwhile is not what was checked
            if not record.kind and hashlib.sha256(contents[place]).digest() != digests[place]:
                spoilt.append(place)
        sound = {digest: place for place, digest in enumerate(digests) if place not in spoilt and not self._has(digest)}
        if sound:
            self._store.append(sound, vectors[list(sound.values())])
            self.embedded += len(sound)
        return [
            (place, b"" if at in spoilt else digests[at], NO_EMBEDDING if at in spoilt else "")
            for at, record in enumerate(batch)
            for place in by_path[record.source_path]
        ]


def _digest(path: str) -> bytes | None:
    """SHA-256 of a file; None where it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError:
        return None


def _read(path: str) -> bytes:
    """A file's bytes; none where it is gone by now, which no decoder takes for a picture."""
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
