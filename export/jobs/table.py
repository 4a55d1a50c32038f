"""The job `table`: a new or changed catalogue, embedded with an exported encoder, to a new lookup and search."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.errors import InputError

if TYPE_CHECKING:  # `--help` is to be instant
    from export.catalogue import Catalogue
    from export.catalogue_changes import CatalogueChanges, Change
    from export.config import ExportConfig
    from export.release import Release
    from serving.contract import Manifest

__all__ = ["add_arguments", "run"]

_REJECTED_FILE = "rejected.csv"
_GOLDEN = 8
_FILES = ("add", "replace", "remove", "catalogue")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this job."""
    parser.add_argument("--out", type=Path, required=True, metavar="EXPORTS", help="folder of all exported models")
    parser.add_argument("--model", default="fused", metavar="NAME", help="of the trained model (default fused)")
    parser.add_argument("--add", type=Path, metavar="FILE.csv", help="new items: id, image_path, attributes")
    parser.add_argument(
        "--replace",
        type=Path,
        metavar="FILE.csv",
        help="items that are there: id and what changes: image_path, attributes; the rest of an item stays",
    )
    parser.add_argument("--remove", type=Path, metavar="FILE.csv", help="items to remove: id")
    parser.add_argument("--catalogue", type=Path, metavar="FILE.csv", help="the whole table anew, as for --add")
    parser.add_argument(
        "--pictures", type=Path, metavar="ROOT", help="what image_path is relative to (default: the CSV's folder)"
    )
    parser.add_argument(
        "--embeddings",
        type=Path,
        metavar="OUT.parquet",
        help="write ids, vectors and attributes; alone: of the present",
    )
    parser.add_argument("--keep", type=int, metavar="N", help="versions of each kind to keep (default all)")
    parser.add_argument(
        "--set",
        dest="changes",
        nargs="+",
        action="extend",
        default=[],
        metavar="a.b=value",
        help="change settings of the present table, for example top_k=20 index.dtype=int8 labels=[canary]",
    )
    parser.add_argument(
        "--max-rejected-share", type=_share, default=0.05, metavar="S", help="of broken pictures (default 0.05)"
    )
    parser.add_argument(
        "--batch-size", type=_positive, default=32, metavar="N", help="pictures embedded at once (default 32)"
    )
    parser.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="for what is unfinished, and rejected.csv (default EXPORTS/.table-NAME)",
    )


def run(options: argparse.Namespace) -> None:
    """Changes the table and publishes it, or writes its embeddings.

    Vectors are kept below `--work` as they are made, until the table that they are for is published; so a command that
    was interrupted goes on where it was when it is given again.

    Raises:
        InputError: the options, a CSV, the pictures or the exported models cannot be used.
        VerificationError: what was made does not hold what it promises; nothing was published.
    """
    _check(options)
    if options.embeddings is not None and not _changes_something(options):
        _write_embeddings(_present(options.out, options.model, "lookup"), options.embeddings)
        return
    job = _Job(options)
    with job.working() as work:
        try:
            job.carry_out(work)
        except sqlite3.OperationalError as error:  # of the list of changes: the disk is full, or gone
            raise InputError(f"cannot write {work} ({error}); free some space or give another --work") from error


def _check(options: argparse.Namespace) -> None:
    if not options.out.is_dir():
        raise InputError(f"--out: expected the folder of exported models, {options.out} is none")
    given = [name for name in _FILES if getattr(options, name) is not None]
    if not given and not options.changes and options.embeddings is None:
        raise InputError(f"expected one of {', '.join(f'--{name}' for name in _FILES)}, --set or --embeddings")
    if "catalogue" in given and len(given) > 1:
        raise InputError(f"--catalogue: expected alone, since it is the whole table; received --{given[0]} too")
    if options.pictures is not None and not options.pictures.is_dir():
        raise InputError(f"--pictures: expected a folder, {options.pictures} is none")


def _changes_something(options: argparse.Namespace) -> bool:
    return bool(options.changes) or any(getattr(options, name) is not None for name in _FILES)


def _newest(out: Path, name: str, kind: str) -> Path | None:
    from export.publish import versions
    from serving.contract import served_name

    base = out / served_name(name, kind)  # type: ignore[arg-type]
    there = versions(base)
    return base / str(there[-1]) if there else None


def _present(out: Path, name: str, kind: str) -> Path:
    folder = _newest(out, name, kind)
    if folder is None:
        raise InputError(
            f"expected an exported {kind} of {name} below {out}, there is none; give --out and --model, or run "
            "python -m export first"
        )
    return folder


def _write_embeddings(folder: Path, path: Path) -> None:
    from export.catalogue import read_catalogue

    rows = read_catalogue(folder).rows
    rows.write_parquet(path)
    print(f"wrote {rows.count:,} embeddings to {path}")


@dataclass(frozen=True)
class _State:
    """What is published now: folders and manifests of the newest versions; no lookup where there is none."""

    encoder_folder: Path
    encoder: Manifest
    lookup_folder: Path | None
    lookup: Manifest | None

    @property
    def alike(self) -> bool:
        """Whether the present table was embedded by the present encoder."""
        return self.lookup is not None and self.lookup.fingerprint == self.encoder.fingerprint


class _Job:
    """One command, from the present state to the release."""

    def __init__(self, options: argparse.Namespace) -> None:
        from export.manifest import read_manifest
        from export.table_settings import table_settings

        self.options = options
        encoder, lookup = _present(options.out, options.model, "encoder"), _newest(options.out, options.model, "lookup")
        manifest = read_manifest(lookup) if lookup is not None else None
        self.state = _State(encoder, read_manifest(encoder), lookup, manifest)
        keep = [f"keep={options.keep}"] if options.keep is not None else []
        # The encoder's batching is as good as any where there is no lookup yet.
        self.config: ExportConfig = table_settings(
            self.state.encoder, manifest, lookup or encoder, [*keep, *options.changes]
        )

    @contextlib.contextmanager
    def working(self) -> Iterator[Path]:
        """The folder of what is unfinished, for this process alone."""
        from filelock import FileLock, Timeout

        work = self.options.work or self.options.out / f".table-{self.options.model}"
        try:
            work.mkdir(parents=True, exist_ok=True)
            lock = FileLock(work / ".lock")
            lock.acquire(timeout=0)
        except Timeout as error:
            raise InputError(f"another command changes the table in {work}; wait for it") from error
        except OSError as error:
            raise InputError(f"cannot write {work} ({error.strerror}); give another --work") from error
        try:
            for left in work.glob("plain-*"):
                shutil.rmtree(left, ignore_errors=True)
            yield work
        finally:
            shutil.rmtree(work / "new", ignore_errors=True)
            (work / "changes.sqlite").unlink(missing_ok=True)
            lock.release()

    def carry_out(self, work: Path) -> None:
        """Embeds, writes the new table, publishes it, and says what was done."""
        from export.catalogue_changes import CatalogueChanges
        from export.catalogue_update import embed_changes, refuse_broken, write_changed
        from export.exported_encoder import ExportedEncoder
        from export.picture_embedder import PictureEmbedder

        former, known = self._former()
        with contextlib.closing(CatalogueChanges(work / "changes.sqlite")) as changes:
            self._read(changes, former)
            columns = self._columns(changes, former)
            encoder = ExportedEncoder(self.state.encoder_folder)
            embedder = PictureEmbedder(encoder, work, batch_size=self.options.batch_size)
            examples = embed_changes(changes, embedder, known, _GOLDEN)
            rejected = refuse_broken(changes, work / _REJECTED_FILE, self.options.max_rejected_share)
            write_changed(work / "new", changes, embedder, former, columns)
            self._report(changes, rejected, embedder.embedded, work)
        self._finish(work, encoder, examples)

    def _former(self) -> tuple[Catalogue | None, Catalogue | None]:
        """The table to change, and the one whose vectors can be used again."""
        from export.catalogue import TABLE_FILE, read_catalogue

        folder = self.state.lookup_folder
        if self.options.catalogue is not None:
            there = folder is not None and (folder / TABLE_FILE).is_file()
            return None, read_catalogue(folder) if folder is not None and there and self.state.alike else None
        if folder is None:
            raise InputError(f"expected a table of {self.options.model} to change, there is none; give --catalogue")
        if not self.state.alike:
            raise InputError(
                f"expected a table embedded by the encoder {self.state.encoder_folder}, {folder} was embedded by "
                "another; embed the whole catalogue anew with --catalogue"
            )
        former = read_catalogue(folder)
        return former, former

    def _read(self, changes: CatalogueChanges, former: Catalogue | None) -> None:
        options = self.options
        if options.catalogue is not None:
            changes.read("add", options.catalogue, options.pictures)
            return
        for action in ("add", "replace", "remove"):
            if getattr(options, action) is not None:
                changes.read(action, getattr(options, action), options.pictures)  # type: ignore[arg-type]
        assert former is not None  # noqa: S101 (only a new catalogue has none)
        changes.note_present(former.rows)
        changes.check()

    def _columns(self, changes: CatalogueChanges, former: Catalogue | None) -> list[str]:
        """Attributes of the new table: those there, and those that the settings name, or leave to the files."""
        import logging

        given = list(dict.fromkeys(name for names in changes.columns.values() for name in names))
        there = list(former.rows.attribute_names) if former is not None else []
        wanted = self.config.attributes
        if wanted is None:
            return list(dict.fromkeys([*there, *given]))
        lacking = [name for name in wanted if name not in (*there, *given)]
        told = any(change.partition("=")[0].strip() == "attributes" for change in self.options.changes)
        if lacking and told:
            raise InputError(
                f"attributes: expected columns of the table or of the files ({', '.join([*there, *given])}), "
                f"received {lacking[0]!r}"
            )
        log = logging.getLogger(__name__)
        for action, names in changes.columns.items():
            if action == "add" and (empty := [name for name in wanted if name not in names]):
                log.warning("attributes %s are empty in the added items: no such columns", ", ".join(empty))
        if left := [name for name in given if name not in (*there, *wanted)]:
            log.warning("columns %s are left out; to have them, --set attributes=…", ", ".join(left))
        return list(dict.fromkeys([*there, *wanted]))

    def _report(self, changes: CatalogueChanges, rejected: int, embedded: int, work: Path) -> None:
        done = changes.counts()
        print(
            f"added {done['add']:,}, replaced {done['replace']:,}, removed {done['remove']:,}; "
            f"{embedded:,} pictures embedded; {changes.count_after():,} items"
        )
        if rejected:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in changes.reasons().items())
            print(f"{rejected:,} pictures cannot be used ({reasons}): see {work / _REJECTED_FILE}")

    def _finish(self, work: Path, encoder: object, examples: Sequence[Change]) -> None:
        from export.table_release import NewTable

        table = NewTable(work / "new", encoder, self.state.encoder_folder, self.config, examples)  # type: ignore[arg-type]
        if not self.options.changes and self._is_as_before(table.rows.fingerprint(), work / "new"):
            print(f"nothing has changed since {self.state.lookup_folder}; nothing was published")
        else:
            self._say(table.publish(self.options.out))
        if self.options.embeddings is not None:
            _write_embeddings(work / "new", self.options.embeddings)
        shutil.rmtree(work / "vectors", ignore_errors=True)

    def _is_as_before(self, fingerprint: str, new: Path) -> bool:
        """Whether what is served is the same, and what is only kept beside it too."""
        from export.catalogue import TABLE_FILE, read_catalogue
        from export.manifest import read_manifest

        search = _newest(self.options.out, self.options.model, "search")
        if search is None or self.state.lookup is None or not self.state.alike:
            return False
        present = {self.state.lookup.table_fingerprint, read_manifest(search).table_fingerprint}
        if present != {fingerprint} or read_manifest(search).fingerprint != self.state.encoder.fingerprint:
            return False
        former = self.state.lookup_folder
        if former is None or not (former / TABLE_FILE).is_file():
            return False
        return read_catalogue(former).rows.fingerprint() == read_catalogue(new).rows.fingerprint()

    def _say(self, release: Release) -> None:
        for verification in release.verifications:
            print(verification)
        for folder in release.folders.values():
            print(f"published {folder}")
        for folder in release.pruned:
            print(f"removed {folder}")


def _share(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, received {text}")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, received {text}")
    return value
