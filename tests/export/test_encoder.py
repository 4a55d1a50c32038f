"""The exported encoder: the same embeddings through the trainer's model and through the SavedModel."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_model import DIMENSION, LABELS, SIZE, some_pixels, tiny_cnn, tiny_model
from tiny_words import TEXTS, tiny_words

import trainer.tensorflow_quiet  # noqa: F401  isort: skip
import keras
import tensorflow as tf

from export.encoder import Encoder, model_fingerprint
from export.text.text_side import TextSide, text_fingerprint
from serving.contract import SERVING_DEFAULT, SIGNATURES
from trainer.data.pipeline import decode_picture
from trainer.errors import InputError
from trainer.models.text_encoder import TextEncoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encoder")


@pytest.fixture(scope="module")
def model(folder: Path) -> keras.Model:
    return tiny_model(folder)


@pytest.fixture(scope="module")
def text_encoder() -> TextEncoder:
    return tiny_words()


@pytest.fixture(scope="module")
def encoder(model: keras.Model, text_encoder: TextEncoder) -> Encoder:
    return Encoder.from_model(model, LABELS, top_labels=2, words=TextSide(text_encoder))


@pytest.fixture(scope="module")
def saved(encoder: Encoder, folder: Path) -> Path:
    tf.saved_model.save(encoder, str(folder / "saved"), signatures=encoder.signatures())
    return folder / "saved"


@pytest.fixture(scope="module")
def loaded(saved: Path) -> Any:
    return tf.saved_model.load(str(saved))


def pictures() -> list[bytes]:
    """JPEG, PNG, grey ones, of odd sizes and of the model's own."""
    draw = np.random.default_rng(3)
    contents = []
    for height, width, mode, form in [
        (SIZE, SIZE, "RGB", "JPEG"),
        (67, 41, "RGB", "JPEG"),
        (67, 41, "L", "JPEG"),
        (33, 90, "RGB", "PNG"),
        (33, 90, "L", "PNG"),
        (1, 7, "RGB", "PNG"),
    ]:
        coarse = Image.fromarray(draw.integers(0, 256, (6, 5, 3), dtype=np.uint8)).resize((width, height))
        buffer = io.BytesIO()
        coarse.convert(mode).save(buffer, form)
        contents.append(buffer.getvalue())
    return contents


def by_trainer(model: keras.Model, contents: list[bytes]) -> np.ndarray:
    pixels = tf.stack([decode_picture(tf.constant(content), int(model.input_shape[1])) for content in contents])
    return model(pixels, training=False)["embedding"].numpy()


def test_the_same_picture_gives_the_same_embedding(model: keras.Model, loaded: Any) -> None:
    contents = pictures()
    answer = loaded.signatures["embed_images"](image_bytes=tf.constant(contents))
    assert answer["embedding"].shape == (len(contents), DIMENSION)
    np.testing.assert_allclose(answer["embedding"].numpy(), by_trainer(model, contents), rtol=0, atol=1e-5)
    default = loaded.signatures[SERVING_DEFAULT](image_bytes=tf.constant(contents))
    np.testing.assert_array_equal(default["embedding"].numpy(), answer["embedding"].numpy())


def test_pixels_are_embedded_without_decoding(model: keras.Model, loaded: Any) -> None:
    pixels = some_pixels()
    function = loaded.signatures["embed_pixels"]
    answer = function(pixels=tf.constant(pixels))["embedding"].numpy()
    np.testing.assert_allclose(answer, model(pixels, training=False)["embedding"].numpy(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(answer, axis=1), 1, atol=1e-5)


def test_an_encoder_for_tpus_compiles_with_xla(model: keras.Model, tmp_path: Path) -> None:
    encoder = Encoder.from_model(model, LABELS, target="tpu")
    tf.saved_model.save(encoder, str(tmp_path), signatures=encoder.signatures())
    loaded = tf.saved_model.load(str(tmp_path))
    pixels = tf.constant(some_pixels())
    embed = loaded.signatures["embed_pixels"]
    compiled = tf.function(lambda pixels: embed(pixels=pixels)["embedding"], jit_compile=True)
    np.testing.assert_allclose(compiled(pixels), model(pixels, training=False)["embedding"], rtol=0, atol=1e-4)
    unknown = tf.function(lambda pixels: tf.py_function(tf.identity, [pixels], tf.uint8), jit_compile=True)
    with pytest.raises(tf.errors.OpError):  # what XLA cannot compile is refused, so the above says something
        unknown(pixels)


def test_the_same_text_gives_the_same_embedding(text_encoder: TextEncoder, loaded: Any) -> None:
    texts = ["navy blue men's shirt", "", "shoe " * 30, "日本のシャツ 👍🏽", "qxqx", *TEXTS]
    answer = loaded.signatures["embed_texts"](text=tf.constant(texts))["embedding"].numpy()
    np.testing.assert_allclose(answer, text_encoder.encode(texts), rtol=0, atol=1e-5)
    alone = loaded.signatures["embed_texts"](text=tf.constant(texts[:1]))["embedding"].numpy()
    np.testing.assert_allclose(alone, answer[:1], rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(answer, axis=1), 1, atol=1e-5)


def test_an_encoder_without_words_takes_no_texts(model: keras.Model, text_encoder: TextEncoder) -> None:
    plain = Encoder(
        lambda pixels: {},
        SIZE,
        DIMENSION,
        LABELS,
        precision="float32",
        fingerprint="abc",  # type: ignore[arg-type]
    )
    assert (plain.reads_words, plain.words_facts) == (False, {})
    with pytest.raises(InputError, match="embeddings as wide as the pictures', 8, received 5"):
        Encoder.from_model(model, LABELS, words=TextSide(tiny_words(5)))


def test_how_texts_are_read_is_told(encoder: Encoder, text_encoder: TextEncoder) -> None:
    facts = encoder.words_facts
    assert facts["ops"] == "stock"
    assert (facts["length"], facts["vocabulary_size"]) == (12, text_encoder.tokenizer.vocabulary_size())
    assert facts["fingerprint"] == text_fingerprint(tiny_words())
    assert len({facts["fingerprint"], text_fingerprint(tiny_words(seed=1)), encoder.fingerprint}) == 3


def test_labels_come_with_their_probabilities(model: keras.Model, loaded: Any) -> None:
    contents = pictures()
    answer = loaded.signatures["classify_images"](image_bytes=tf.constant(contents))
    pixels = tf.stack([decode_picture(tf.constant(content), SIZE) for content in contents])
    expected = tf.nn.softmax(model(pixels, training=False)["logits"]).numpy()
    order = np.argsort(-expected, axis=1)[:, :2]
    assert answer["labels"].numpy().astype(str).tolist() == np.asarray(LABELS)[order].tolist()
    np.testing.assert_allclose(answer["scores"].numpy(), np.take_along_axis(expected, order, axis=1), atol=1e-5)


def test_signatures_are_those_of_the_contract_and_keep_the_batch(encoder: Encoder, loaded: Any) -> None:
    assert set(loaded.signatures) == {SERVING_DEFAULT, *SIGNATURES["encoder"]}
    for name, function in loaded.signatures.items():
        (key, spec), *more = function.structured_input_signature[1].items()
        assert not more and spec.shape.rank >= 1
        inputs = {"pixels": some_pixels(3), "text": ["shirt", "", "red shoe"]}.get(key, pictures()[:3])
        answer = function(**{key: tf.constant(inputs)})
        assert all(value.shape[0] == 3 for value in answer.values()), name
        assert answer["fingerprint"].numpy().astype(str).tolist() == [encoder.fingerprint] * 3


def test_weights_are_variables_and_operations_are_stock(saved: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    content = saved_model_pb2.SavedModel.FromString((saved / "saved_model.pb").read_bytes())
    (meta,) = content.meta_graphs
    nodes = [*meta.graph_def.node, *(node for f in meta.graph_def.library.function for node in f.node_def)]
    odd = {node.op for node in nodes if node.op.startswith("_") or "PyFunc" in node.op or "Xla" in node.op}
    assert not odd
    assert not any(node.attr["_XlaMustCompile"].b for node in nodes if "_XlaMustCompile" in node.attr)
    largest = max(node.ByteSize() for node in nodes if node.op == "Const")
    assert largest < 8192
    assert not {node.op for node in nodes} & {"FusedBatchNormV3", "RandomUniform"}


def test_it_works_in_a_process_without_project_code(
    saved: Path, model: keras.Model, text_encoder: TextEncoder, tmp_path: Path
) -> None:
    (tmp_path / "picture").write_bytes(pictures()[1])
    program = (
        "import sys, numpy, tensorflow as tf\n"
        f"loaded = tf.saved_model.load({str(saved)!r}).signatures\n"
        f"picture = open({str(tmp_path / 'picture')!r}, 'rb').read()\n"
        "answer = loaded['serving_default'](image_bytes=tf.constant([picture]))\n"
        f"texts = loaded['embed_texts'](text=tf.constant({TEXTS!r}))\n"
        "foreign = {'trainer', 'export', 'serving', 'keras_hub', 'tokenizers', 'tensorflow_text'}\n"
        "assert not foreign & set(sys.modules)\n"
        f"numpy.save({str(tmp_path / 'answer.npy')!r}, answer['embedding'].numpy())\n"
        f"numpy.save({str(tmp_path / 'texts.npy')!r}, texts['embedding'].numpy())\n"
    )
    subprocess.run([sys.executable, "-I", "-c", program], check=True, cwd=tmp_path, capture_output=True)
    expected = by_trainer(model, [pictures()[1]])
    np.testing.assert_allclose(np.load(tmp_path / "answer.npy"), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.load(tmp_path / "texts.npy"), text_encoder.encode(TEXTS), rtol=0, atol=1e-5)


def test_facts_for_the_manifest(encoder: Encoder) -> None:
    assert (encoder.image_size, encoder.embedding_dim, encoder.labels) == (SIZE, DIMENSION, LABELS)
    assert (encoder.precision, encoder.top_labels) == ("float32", 2)
    assert encoder.preprocessing["image_size"] == SIZE


def test_fingerprint_is_of_weights_and_not_of_places(model: keras.Model, tmp_path: Path) -> None:
    fingerprint = model_fingerprint(model)
    assert fingerprint == model_fingerprint(model) and len(fingerprint) == 64
    model.save(tmp_path / "again.keras")
    assert model_fingerprint(keras.saving.load_model(tmp_path / "again.keras")) == fingerprint
    weight = model.get_layer("head").get_layer("projection").bias
    former = weight.numpy()
    weight.assign(former + 1e-6)
    assert model_fingerprint(model) != fingerprint
    weight.assign(former)
    assert model_fingerprint(model) == fingerprint


def test_precision_is_no_part_of_the_fingerprint(model: keras.Model, encoder: Encoder) -> None:
    low = Encoder.from_model(model, LABELS, precision="bfloat16")
    assert low.precision == "bfloat16" and low.fingerprint == encoder.fingerprint
    found = tf.function(low.encode)(tf.constant(some_pixels()))["embedding"].numpy()
    expected = model(some_pixels(), training=False)["embedding"].numpy()
    assert 1e-6 < np.abs(found - expected).max() < 0.05
    assert (found * expected).sum(axis=1).min() > 0.999


def test_what_does_not_fit_is_refused(model: keras.Model) -> None:
    with pytest.raises(InputError, match="one label for each of the model's 3 logits, received 2"):
        Encoder.from_model(model, LABELS[:2])
    with pytest.raises(InputError, match="answers embedding and logits"):
        Encoder.from_model(tiny_cnn(), LABELS)
    with pytest.raises(InputError, match="precision: expected"):
        Encoder.from_model(model, LABELS, precision="float16")


def test_real_pictures_and_weights(shared_root: Path, tmp_path: Path) -> None:
    from trainer.models.head import build_head, compose
    from trainer.models.hub_vit import build_hub_vit
    from trainer.models.resnet50 import build_resnet50

    keras.utils.set_random_seed(0)
    weights = shared_root / "weights"
    backbones = {
        "resnet50": build_resnet50(str(weights / "resnet50_imagenet_notop.weights.h5")),
        "hub_vit": build_hub_vit(str(weights / "vit_tiny16_imagenet")),
    }
    real = compose(backbones, build_head({"resnet50": 5632, "hub_vit": 192}, 3), 224, "fused")
    paths = sorted((shared_root / "data" / "fashion-products" / "images").glob("*.jpg"))[:3]
    contents = [path.read_bytes() for path in paths]
    buffer = io.BytesIO()
    Image.open(paths[0]).resize((301, 177)).convert("L").save(buffer, "PNG")
    contents.append(buffer.getvalue())
    encoder = Encoder.from_model(real, LABELS)
    tf.saved_model.save(encoder, str(tmp_path / "saved"), signatures=encoder.signatures())
    served = tf.saved_model.load(str(tmp_path / "saved"))
    answer = served.signatures["embed_images"](image_bytes=tf.constant(contents))["embedding"].numpy()
    np.testing.assert_allclose(answer, by_trainer(real, contents), rtol=0, atol=1e-5)
    assert (tmp_path / "saved" / "saved_model.pb").stat().st_size < 8 * 2**20
