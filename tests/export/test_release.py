"""A release: all kinds under one number, or nothing; and back to an older state."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from killed_program import fill

import export.release
from export.config import BatchingConfig
from export.errors import VerificationError
from export.jobs import prune, rollback
from export.manifest import hash_files, read_manifest, write_manifest
from export.model_config import MODELS_FILE, labelled_versions
from export.publish import served_folders, versions
from export.release import Release, prune_models, publish_release
from export.verify import Verification
from serving.contract import BATCHING_FILE, Kind, Manifest
from trainer.errors import InputError

TABLE: tuple[Kind, ...] = ("lookup", "search")
ALL: tuple[Kind, ...] = ("encoder", *TABLE)


@pytest.fixture(autouse=True)
def verified(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What was given to verification, which itself is tested elsewhere."""
    seen: list[Path] = []

    def verify(folders: Sequence[Path], pictures: Any = None) -> list[Verification]:
        seen.extend(folders)
        for folder in folders:
            assert dict(read_manifest(folder).files) == hash_files(folder)
        return [Verification(folder, read_manifest(folder).served_name, (("files", "all"),)) for folder in folders]

    monkeypatch.setattr(export.release, "verify_versions", verify)
    return seen


def publish(exports: Path, kinds: Sequence[Kind] = ALL, encoder: str = "abc", **options: Any) -> Release:
    def write(kind: Kind) -> Any:
        def part(folder: Path) -> Manifest:
            fill(folder)
            return dataclasses.replace(read_manifest(folder), kind=kind, fingerprint=encoder)

        return part

    parts = {kind: write(kind) for kind in kinds}
    return publish_release(exports, "fused", parts, batching=BatchingConfig(), **options)


def there(exports: Path) -> dict[str, list[int]]:
    return {kind: versions(base) for kind, base in served_folders(exports, "fused").items()}


def options(exports: Path, **more: Any) -> argparse.Namespace:
    return argparse.Namespace(out=exports, model="fused", **more)


def test_all_kinds_get_one_number_and_are_verified_before(tmp_path: Path, verified: list[Path]) -> None:
    release = publish(tmp_path / "exports")
    assert release.version == 1
    assert there(tmp_path / "exports") == {"encoder": [1], "lookup": [1], "search": [1]}
    assert [folder.name.isdigit() for folder in verified] == [False] * 3
    assert set(release.folders) == set(ALL)
    assert (release.folders["search"] / BATCHING_FILE).is_file()
    assert BATCHING_FILE in read_manifest(release.folders["search"]).files
    assert (tmp_path / "exports" / MODELS_FILE).is_file()
    assert publish(tmp_path / "exports", TABLE).version == 2
    assert there(tmp_path / "exports") == {"encoder": [1], "lookup": [1, 2], "search": [1, 2]}


def test_what_does_not_hold_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path)
    config = (tmp_path / MODELS_FILE).read_bytes()

    def find_a_difference(*_: Any) -> None:
        raise VerificationError("it answers otherwise")

    monkeypatch.setattr(export.release, "verify_versions", find_a_difference)
    with pytest.raises(VerificationError):
        publish(tmp_path, labels=("canary",))
    assert there(tmp_path) == {"encoder": [1], "lookup": [1], "search": [1]}
    assert (tmp_path / MODELS_FILE).read_bytes() == config


def test_one_kind_that_fails_keeps_all_back(tmp_path: Path) -> None:
    def fail(folder: Path) -> Manifest:
        raise InputError("no")

    with pytest.raises(InputError):
        publish_release(
            tmp_path, "fused", {"lookup": lambda folder: fill(folder), "search": fail}, batching=BatchingConfig()
        )
    assert there(tmp_path) == {"encoder": [], "lookup": [], "search": []}


def test_a_config_that_cannot_be_read_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / MODELS_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"models\.config"):
        publish(tmp_path)
    assert not (tmp_path / "fused_lookup").exists()


def test_labels_name_the_newest_of_every_kind(tmp_path: Path) -> None:
    publish(tmp_path, labels=("stable",))
    publish(tmp_path, TABLE, labels=("canary",))
    assert labelled_versions(tmp_path) == {
        "fused_encoder": {"stable": 1, "canary": 1},
        "fused_lookup": {"stable": 1, "canary": 2},
        "fused_search": {"stable": 1, "canary": 2},
    }


def test_old_versions_go_but_not_the_labelled(tmp_path: Path) -> None:
    publish(tmp_path, labels=("stable",))
    publish(tmp_path)
    publish(tmp_path, TABLE)
    release = publish(tmp_path, TABLE, keep=1)
    assert there(tmp_path) == {"encoder": [1, 2], "lookup": [1, 4], "search": [1, 4]}
    assert sorted(folder.relative_to(tmp_path).as_posix() for folder in release.pruned) == [
        f"fused_{kind}/{number}" for kind in TABLE for number in (2, 3)
    ]
    assert prune_models(tmp_path, "resnet50", 1) == []


def test_the_prune_job_says_what_it_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(tmp_path)
    publish(tmp_path)
    prune.run(options(tmp_path, keep=1))
    assert capsys.readouterr().out.splitlines() == [f"removed {tmp_path}/fused_{kind}/1" for kind in ALL]
    prune.run(options(tmp_path, keep=1))
    assert capsys.readouterr().out == "nothing to remove\n"
    with pytest.raises(InputError, match="--keep: expected at least 1, received 0"):
        prune.run(options(tmp_path, keep=0))
    with pytest.raises(InputError, match="--out: expected the folder of exported models"):
        prune.run(options(tmp_path / "none", keep=1))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"expected versions of fused below .*, there are none"):
        prune.run(options(tmp_path / "empty", keep=1))


def test_rollback_makes_the_version_before_the_newest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(tmp_path, encoder="old")
    publish(tmp_path, encoder="new")
    rollback.run(options(tmp_path, to=None))
    assert there(tmp_path) == {"encoder": [1, 2, 3], "lookup": [1, 2, 3], "search": [1, 2, 3]}
    for kind, base in served_folders(tmp_path, "fused").items():
        assert read_manifest(base / "3") == read_manifest(base / "1")
        assert read_manifest(base / "3").kind == kind
        assert os.path.samefile(base / "1" / "saved_model.pb", base / "3" / "saved_model.pb")
        assert hash_files(base / "3") == hash_files(base / "1")
    assert f"published {tmp_path}/fused_search/3, which is {tmp_path}/fused_search/1\n" in capsys.readouterr().out


def test_rollback_of_a_table_leaves_the_encoder(tmp_path: Path) -> None:
    publish(tmp_path)
    publish(tmp_path, TABLE)
    publish(tmp_path, TABLE)
    rollback.run(options(tmp_path, to=2))
    assert there(tmp_path) == {"encoder": [1], "lookup": [1, 2, 3, 4], "search": [1, 2, 3, 4]}
    assert read_manifest(tmp_path / "fused_lookup" / "4") == read_manifest(tmp_path / "fused_lookup" / "2")
    publish(tmp_path, encoder="new")
    rollback.run(options(tmp_path, to=3))  # whose encoder is version 1
    assert read_manifest(tmp_path / "fused_encoder" / "6").fingerprint == "abc"


@pytest.mark.parametrize(
    ("to", "said"),
    [
        (7, r"--to: expected one of the versions \[1, 2, 4\] of fused, received 7"),
        (3, r"--to: expected one of the versions"),
        (4, "--to: version 4 of fused is what is served already"),
        (1, "--to: version 1 of fused cannot be put back: its encoder has been pruned"),
        (2, "--to: expected kinds of one encoder at that version, received encoder new, lookup old, search old"),
    ],
)
def test_what_cannot_be_put_back_is_refused(to: int, said: str, tmp_path: Path) -> None:
    publish(tmp_path, encoder="old")
    publish(tmp_path, encoder="new")
    for kind in TABLE:
        manifest = read_manifest(tmp_path / f"fused_{kind}" / "2")
        write_manifest(tmp_path / f"fused_{kind}" / "2", dataclasses.replace(manifest, fingerprint="old"))
    publish(tmp_path)
    (tmp_path / "fused_encoder" / "1").rename(tmp_path / "gone")
    for base in served_folders(tmp_path, "fused").values():
        (base / "3").rename(base / "4")
    with pytest.raises(InputError, match=said):
        rollback.run(options(tmp_path, to=to))


def test_nothing_older_or_nothing_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected versions of fused below"):
        rollback.run(options(tmp_path, to=None))
    publish(tmp_path)
    with pytest.raises(InputError, match=r"expected an older version of fused below .*, there is only 1"):
        rollback.run(options(tmp_path, to=None))
