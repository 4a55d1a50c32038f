"""Writes fused_lookup/1 and fused_lookup/2 of two different tables, run as a process by the tests: `python ... OUT`.

Their ids begin with `a-` and `b-`, their table fingerprints are `table-a` and `table-b`, and their rows stand in other
orders, so that an answer tells all over which of them it came from. The queue of waiting batches is short.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import small_exports_program as small
import tensorflow as tf

from serving import contract

QUEUE = 4


def main(out: Path) -> None:
    """Writes both."""
    for version, letter in enumerate("ab", 1):
        small.TABLE_FINGERPRINT = f"table-{letter}"
        arrays = small.constants()
        arrays["ids"] = small.np.array([f"{letter}-{row}" for row in range(small.ITEMS)])
        arrays["vectors"] = small.np.roll(arrays["vectors"], version, axis=0)
        module = small.Lookup(arrays)
        signatures = {name: getattr(module, name) for name in contract.SIGNATURES["lookup"]}
        folder = out / "fused_lookup" / str(version)
        tf.saved_model.save(module, str(folder), {contract.SERVING_DEFAULT: module.lookup, **signatures})
        small.write_extras(folder, "lookup")
        batching = folder / contract.BATCHING_FILE
        text = re.sub(r"(max_enqueued_batches \{ value: )\d+", rf"\g<1>{QUEUE}", batching.read_text())
        batching.write_text(text)
        (folder / contract.MANIFEST_FILE).unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
