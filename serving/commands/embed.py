"""`python -m serving embed`: photos and words as embeddings."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from serving.commands.connection import add_connection, client_settings, servers
from serving.commands.errors import CommandError
from serving.commands.questions import Question, add_photos, add_texts, numbers, photos_of

if TYPE_CHECKING:
    import numpy as np

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `embed` to a parser."""
    add_photos(parser, nargs="*")
    add_texts(parser, "embed words; again for more. They come after the photos")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one line of JSON a photo or text, which `lookup` reads")
    form.add_argument("--out", type=Path, metavar="FILE.npy", help="write float32 [photos and texts, D] for NumPy")
    add_connection(parser)


def run(options: argparse.Namespace) -> int:
    """Embeds and prints, or writes.

    Args:
        options: as `add_arguments` parses them.

    Returns:
        The exit code.
    """
    import numpy as np

    from serving import Client

    if options.out is not None and options.out.suffix != ".npy":
        raise CommandError(f"expected --out with a name that ends in .npy, received {options.out}")
    questions = [Question(photo=each) for each in options.photos] + [Question(text=each) for each in options.texts]
    if not questions:
        raise CommandError("expected at least one PHOTO or --text, received neither")
    photos = photos_of(options.photos)
    with Client(servers(options), **client_settings(options)) as client:
        embeddings = client.embed_many(photos) + client.embed_texts(options.texts)
    if len({each.fingerprint for each in embeddings}) > 1:
        raise CommandError("expected embeddings of one encoder, a new version took over in between; ask again")
    if options.out is not None:
        _write(options.out, np.stack([each.vector for each in embeddings]))
    for question, each in zip(questions, embeddings, strict=True):
        if options.json:
            about = {"model": each.model, "version": each.version, "fingerprint": each.fingerprint}
            answer = {**question.as_json(), **about, "embedding": numbers(each.vector)}
            print(json.dumps(answer, ensure_ascii=False))
        else:
            start = " ".join(f"{value:+.4f}" for value in each.vector[:6].tolist())
            print(f"{question}: {each.model} version {each.version}, {len(each.vector)} numbers: {start} …")
    return 0


def _write(out: Path, vectors: np.ndarray) -> None:
    """Writes the file aside and renames it into place."""
    import numpy as np

    aside = out.with_name(f".{out.name}-{os.getpid()}")
    try:
        with aside.open("wb") as stream:
            np.save(stream, vectors)
        os.replace(aside, out)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise CommandError(f"expected to write {out}: {error.strerror or error}; give another place") from error
