"""Changes export folders in child processes that are killed (SIGKILL) at their first, second, third… step.

    python killed_program.py ROOT CHANGE

A step is anything on the file system that Python's audit hooks tell of: opening, making, linking, renaming, removing.
The folder of step n is `ROOT/n/fused_lookup`; a line a child tells its step and exit code. The last one is not killed,
since the change has fewer steps.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from pathlib import Path

from filelock import FileLock  # noqa: F401  (imported before the counting begins)
from google.protobuf import text_format  # noqa: F401
from tensorflow_serving.config import model_server_config_pb2  # noqa: F401

from export.manifest import write_manifest
from export.model_config import write_models_config
from export.publish import link_tree, prune, staged_version
from serving.contract import Manifest

STEPS = {
    "open",
    "os.mkdir",
    "os.link",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.scandir",
    "os.listdir",
    "shutil.rmtree",
}


def fill(folder: Path) -> None:
    (folder / "variables").mkdir()
    for name in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
        (folder / name).write_bytes(name.encode() * 1000)
    libraries = {"tensorflow": "2"}
    manifest = Manifest("lookup", "fused", "2026-01-01", libraries, "cpu", ("lookup",), 4, "float32", "abc")
    write_manifest(folder, manifest)


def change(base: Path, what: str) -> None:
    if what == "publish":
        with staged_version(base, 9) as folder:
            fill(folder)
    elif what == "rollback":
        with staged_version(base, 9) as folder:
            link_tree(base / "1", folder)
    elif what == "prune":
        prune(base, 1, labelled=[2])
    elif what == "models.config":
        write_models_config(base.parent, labels={base.name: ["canary"]})


def prepared(base: Path) -> None:
    """Three versions, the newest of them labelled."""
    for number in (1, 2, 3):
        with staged_version(base, number) as folder:
            fill(folder)
    write_models_config(base.parent, labels={base.name: ["stable"]})


def die_at(step: int, base: Path, what: str) -> None:
    left = step

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in STEPS:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    change(base, what)
    os._exit(0)


def main(root: Path, what: str) -> None:
    for step in itertools.count(1):
        base = root / str(step) / "fused_lookup"
        prepared(base)
        child = os.fork()
        if child == 0:
            die_at(step, base, what)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(step, code, flush=True)
        if code != -signal.SIGKILL:
            break


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
