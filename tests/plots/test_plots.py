"""Plots are looked at by people; what is held here is that they are drawn, of what, and that bad input is named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from trainer.errors import InputError
from trainer.evaluation.classification import ConfusionMatrix, confusion_matrix
from trainer.plots.confusion import plot_confusion
from trainer.plots.distribution import plot_distribution
from trainer.plots.embedding_map import plot_embedding_map
from trainer.plots.retrieval_grid import plot_retrieval_grid
from trainer.plots.style import RIGHT, WRONG, canvas
from trainer.plots.training_curves import plot_training_curves
from trainer.retrieval.neighbours import RetrievalResult, find_neighbours
from trainer.retrieval.table import EmbeddingTable


class Drawn:
    """What the figures that were saved held, taken just before they were cleared."""

    def __init__(self) -> None:
        self.axes: list[dict[str, Any]] = []
        self.titles: list[str] = []
        self.legend: list[str] = []

    def take(self, figure: Figure) -> None:
        self.titles = [figure.get_suptitle()] + [
            axes.get_title(loc=at) for axes in figure.axes for at in ("left", "center")
        ]
        self.legend = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
        self.axes = [
            {
                "texts": [text.get_text() for text in axes.texts],
                "lines": [(line.get_linestyle(), *map(list, line.get_data())) for line in axes.get_lines()],
                "bars": [patch.get_width() for patch in axes.patches if hasattr(patch, "get_width")],
                "ticks": [label.get_text() for label in axes.get_yticklabels()],
                "points": [np.asarray(points.get_offsets()) for points in axes.collections],
                "frame": axes.spines["left"].get_edgecolor() if axes.spines["left"].get_visible() else None,
                "title": axes.get_title(),
                "images": [np.asarray(image.get_array()) for image in axes.images],
            }
            for axes in figure.axes
        ]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    seen = Drawn()
    clear = Figure.clear

    def watch(figure: Figure, *args: Any, **kwargs: Any) -> None:
        seen.take(figure)
        clear(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "clear", watch)
    return seen


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        picture.load()
        return picture.size


def table(rows: int = 60, dimension: int = 8, classes: int = 3, **attributes: np.ndarray) -> EmbeddingTable:
    rng = np.random.default_rng(0)
    labels = np.arange(rows) % classes
    vectors = rng.standard_normal((classes, dimension))[labels] * 3 + rng.standard_normal((rows, dimension))
    names = np.array([f"class {label}" for label in labels])
    return EmbeddingTable(np.array([f"{row}" for row in range(rows)]), vectors, {"label": names, **attributes})


def test_the_canvas_leaves_no_figure_and_no_torn_file_behind(tmp_path):
    from matplotlib import pyplot

    with pytest.raises(ZeroDivisionError), canvas(tmp_path / "a.png", 2, 2):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []
    with canvas(tmp_path / "a.png", 2, 1, dpi=100) as figure:
        figure.text(0.5, 0.5, "cost $5_{ to $9")
    assert size(tmp_path / "a.png") == (200, 100)
    assert pyplot.get_fignums() == []


# distribution


def items(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_distribution_counts_by_split(tmp_path, drawn):
    frame = items(label=["shirt"] * 5 + ["heel"] * 2 + [None], split=["train", "test"] * 4)
    path = plot_distribution(frame, tmp_path / "labels.png")
    assert size(path)[0] > 500
    assert drawn.axes[0]["ticks"] == ["shirt", "heel", "(none)"]
    assert drawn.axes[0]["texts"] == ["5", "2", "1"]
    assert drawn.axes[0]["bars"] == [3, 1, 0, 2, 1, 1]
    assert drawn.legend == ["train", "test"]


def test_distribution_sums_up_the_rare_values(tmp_path, drawn):
    frame = items(colour=[f"colour {at:02}" for at in range(30) for _ in range(40 - at)])
    plot_distribution(frame, tmp_path / "colours.png", column="colour")
    assert drawn.axes[0]["ticks"][:2] == ["colour 00", "colour 01"]
    assert drawn.axes[0]["ticks"][-1] == "other (10 values)"
    assert len(drawn.axes[0]["ticks"]) == 21
    assert sum(drawn.axes[0]["bars"]) == len(frame)
    assert drawn.legend == []


def test_distribution_refuses(tmp_path):
    with pytest.raises(InputError, match=r"among \['label'\], received 'colour'"):
        plot_distribution(items(label=["a"]), tmp_path / "a.png", column="colour")
    with pytest.raises(InputError, match="at least one item"):
        plot_distribution(items(label=[]), tmp_path / "a.png")


# confusion


def test_confusion_shows_shares_in_per_cent(tmp_path, drawn):
    matrix = confusion_matrix(np.array(["a"] * 4 + ["b"]), np.array(["a", "a", "a", "b", "b"]))
    size(plot_confusion(matrix, tmp_path / "confusion.png"))
    assert drawn.axes[0]["texts"] == ["75", "25", "100"]
    assert drawn.axes[0]["ticks"] == ["a (4)", "b (1)"]
    np.testing.assert_allclose(drawn.axes[0]["images"][0], [[75, 25], [0, 100]])
    assert "4 of 5 right" in drawn.titles


def test_confusion_of_many_classes_shows_the_most_mistaken(tmp_path, drawn):
    counts = np.diag(np.full(60, 10))
    counts[7, 50], counts[50, 7], counts[3, 9] = 5, 5, 1
    matrix = ConfusionMatrix(np.array([f"c{at}" for at in range(60)]), counts)
    size(plot_confusion(matrix, tmp_path / "confusion.png", top=4))
    assert drawn.axes[0]["ticks"] == ["c3 (11)", "c7 (15)", "c9 (10)", "c50 (15)"]
    assert drawn.titles[1] == "600 of 611 right, the 4 most mistaken of 60 classes"


def test_confusion_where_a_class_has_no_pictures(tmp_path, drawn):
    matrix = confusion_matrix(np.array(["a", "a"]), np.array(["b", "b"]))
    size(plot_confusion(matrix, tmp_path / "confusion.png"))
    np.testing.assert_allclose(drawn.axes[0]["images"][0], [[0, 100], [0, 0]])


# embedding map


@pytest.mark.parametrize("method", ["pca", "tsne"])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_embedding_map(method, dimensions, tmp_path, drawn):
    size(plot_embedding_map(table(30), tmp_path / "map.png", method=method, dimensions=dimensions))
    assert drawn.legend == ["class 0", "class 1", "class 2"]
    assert [len(points) for points in drawn.axes[0]["points"]] == [10, 10, 10]
    assert drawn.titles[0].endswith("of 30 embeddings, by label")


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_embedding_map_is_the_same_for_the_same_seed(method, tmp_path, drawn):
    first = plot_embedding_map(table(40), tmp_path / "a.png", method=method, seed=3).read_bytes()
    assert plot_embedding_map(table(40), tmp_path / "b.png", method=method, seed=3).read_bytes() == first


def test_embedding_map_samples_and_groups_the_rare(tmp_path, drawn, monkeypatch):
    monkeypatch.setattr("trainer.plots.embedding_map.SAMPLE", {("pca", 2): 100})
    brand = np.array([f"brand {at % 14}" for at in range(150)])
    size(plot_embedding_map(table(150, brand=brand), tmp_path / "map.png", attribute="brand"))
    assert sum(len(points) for points in drawn.axes[0]["points"]) == 100
    assert drawn.titles[0] == "PCA of 100 of 150 embeddings, by brand"
    assert len(drawn.legend) == 11
    assert drawn.legend[-1] == "other (4)"


def test_embedding_map_of_a_collapsed_model_and_of_few_rows(tmp_path):
    same = EmbeddingTable(np.array(list("abcdef")), np.ones((6, 4)), {"label": np.array(list("xxxyyy"))})
    size(plot_embedding_map(same, tmp_path / "map.png"))
    size(plot_embedding_map(same, tmp_path / "map.png", method="tsne", dimensions=3))
    size(plot_embedding_map(table(4), tmp_path / "few.png", method="tsne"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "umap"}, "'pca' or 'tsne' in 2 or 3 dimensions, received 'umap' in 2"),
        ({"dimensions": 4}, "received 'pca' in 4"),
        ({"attribute": "colour"}, r"among \['label'\], received 'colour'"),
    ],
)
def test_embedding_map_refuses(options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        plot_embedding_map(table(10), tmp_path / "map.png", **options)


def test_embedding_map_refuses_what_is_too_small(tmp_path):
    with pytest.raises(InputError, match="received 3 of 8"):
        plot_embedding_map(table(3), tmp_path / "map.png")
    with pytest.raises(InputError, match="received 9 of 2"):
        plot_embedding_map(table(9, 2), tmp_path / "map.png", dimensions=3)


# training curves


HISTORY = {
    "epoch": [1, 2, 1, 2, 3],
    "stage": ["head", "head", "tune", "tune", "tune"],
    "loss": [2.0, 1.5, 1.4, 1.2, 1.0],
    "accuracy": [0.4, 0.5, 0.6, 0.7, 0.8],
    "val_loss": [1.9, 1.6, 1.5, 1.3, 1.3],
    "val_accuracy": [0.4, 0.5, 0.5, 0.6, 0.6],
    "learning_rate": [1e-3, 1e-3, 1e-4, 5e-5, 0.0],
}


def history(path: Path, *without: str) -> Path:
    pd.DataFrame(HISTORY).drop(columns=list(without)).to_csv(path, index=False)
    return path


def test_training_curves_count_epochs_through_the_stages(tmp_path, drawn):
    size(plot_training_curves({"resnet50": history(tmp_path / "h.csv")}, tmp_path / "curves.png"))
    assert drawn.legend == ["training", "validation"]
    assert len(drawn.axes) == 3
    training, validation, edge = drawn.axes[0]["lines"]
    assert training == ("--", [1, 2, 3, 4, 5], HISTORY["loss"])
    assert validation == ("-", [1, 2, 3, 4, 5], HISTORY["val_loss"])
    assert edge[1] == [2.5, 2.5]
    assert drawn.axes[0]["texts"] == ["head", "tune"]


def test_training_curves_of_several_runs(tmp_path, drawn):
    files = {
        "resnet50": history(tmp_path / "a.csv", "val_loss", "val_accuracy"),
        "vit": history(tmp_path / "b.csv", "learning_rate", "epoch", "stage"),
    }
    size(plot_training_curves(files, tmp_path / "curves.png"))
    assert drawn.legend == ["resnet50, training", "vit, training", "vit, validation"]
    assert [len(axes["lines"]) for axes in drawn.axes] == [3, 3, 1]


def test_training_curves_leave_out_what_was_not_recorded(tmp_path, drawn):
    path = history(tmp_path / "h.csv", "accuracy", "val_accuracy", "learning_rate")
    size(plot_training_curves({"clip": path}, tmp_path / "curves.png"))
    assert len(drawn.axes) == 1


def test_training_curves_of_one_epoch_at_rate_zero(tmp_path):
    path = tmp_path / "h.csv"
    pd.DataFrame({"epoch": [1], "loss": [1.0], "learning_rate": [0.0]}).to_csv(path, index=False)
    size(plot_training_curves({"clip": path}, tmp_path / "curves.png"))


@pytest.mark.parametrize("text", ["", "epoch,loss\n", "epoch,speed\n1,2\n", None])
def test_training_curves_name_the_file_that_cannot_be_used(text, tmp_path):
    path = tmp_path / "h.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=re.escape(str(path))) as caught:
        plot_training_curves({"clip": path}, tmp_path / "curves.png")
    assert "\n" not in str(caught.value)


def test_training_curves_of_nothing(tmp_path):
    with pytest.raises(InputError, match="at least one"):
        plot_training_curves({}, tmp_path / "curves.png")


# retrieval grid


@pytest.fixture
def gallery(tmp_path):
    """Pictures of three classes on a circle, one green astray among the red ones and one blue some way off the green
    ones; the class "lone" has one picture only.
    """
    angles = np.deg2rad([0, 1, 2, 3, 90, 91, 92, 4, 180, 181, 182, 60, 270])
    labels = np.array(["red"] * 4 + ["green"] * 4 + ["blue"] * 4 + ["lone"])
    colours = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200), "lone": (90, 90, 90)}
    paths = []
    for at, label in enumerate(labels):
        paths.append(str(tmp_path / f"{at}.png"))
        Image.new("RGB", (30, 60), colours[label]).save(paths[-1])
    ids = np.array([f"{at}" for at in range(13)])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return EmbeddingTable(ids, vectors, {"label": labels, "image_path": np.array(paths)})


def own(gallery: EmbeddingTable, k: int = 3) -> RetrievalResult:
    return find_neighbours(gallery, gallery, k, exclude=np.arange(len(gallery)))


def rows_of(drawn: Drawn, columns: int) -> list[list[dict[str, Any]]]:
    return [drawn.axes[at : at + columns] for at in range(0, len(drawn.axes), columns)]


def test_retrieval_grid_shows_best_worst_and_random(gallery, tmp_path, drawn):
    path = plot_retrieval_grid(gallery, gallery, own(gallery), tmp_path / "grid.png", k=3, best=2, worst=1, random=2)
    size(path)
    lines = rows_of(drawn, 4)
    kinds = [line[0]["title"].splitlines() for line in lines]
    assert [kind for kind, _ in kinds] == ["best", "best", "worst", "random", "random"]
    # The best is a red one all of whose nearest are red; the second best is of another class, before a second red one.
    assert kinds[0][1] == "red"
    assert kinds[1][1] != "red"
    # The green picture among the red ones is wrong with the greatest confidence; "lone" cannot be right: no error.
    assert kinds[2][1] == "green"
    assert [cell["title"].splitlines()[1] for cell in lines[2][1:]] == ["red"] * 3


def test_retrieval_grid_frames_right_and_wrong(gallery, tmp_path, drawn):
    plot_retrieval_grid(gallery, gallery, own(gallery), tmp_path / "grid.png", best=1, worst=1, random=0)
    best, worst = rows_of(drawn, 4)
    from matplotlib.colors import to_rgba

    assert best[0]["frame"] is None
    assert [cell["frame"] for cell in best[1:]] == [to_rgba(RIGHT)] * 3
    assert [cell["frame"] for cell in worst[1:]] == [to_rgba(WRONG)] * 3


def test_retrieval_grid_draws_whole_pictures_on_white(gallery, tmp_path, drawn):
    plot_retrieval_grid(gallery, gallery, own(gallery), tmp_path / "grid.png", best=1, worst=0, random=0)
    picture = drawn.axes[0]["images"][0]
    assert picture.shape[0] == picture.shape[1]
    middle, edge = picture.shape[0] // 2, 2
    assert picture[middle, middle].tolist() == [200, 0, 0]
    assert picture[middle, edge].tolist() == [255, 255, 255]
    assert picture[edge, middle].tolist() == [200, 0, 0]


def test_retrieval_grid_turns_pictures_upright(gallery, tmp_path, drawn):
    lying = Image.new("RGB", (60, 30), (0, 0, 200))
    lying.paste((200, 0, 0), (0, 0, 30, 30))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees: what was left is then on top
    for path in gallery.attributes["image_path"]:
        lying.save(path, format="JPEG", exif=exif, quality=95)
    plot_retrieval_grid(gallery, gallery, own(gallery), tmp_path / "grid.png", best=1, worst=0, random=0)
    picture = drawn.axes[0]["images"][0].astype(int)
    quarter, middle = picture.shape[0] // 4, picture.shape[0] // 2
    assert picture[quarter, middle, 0] > 150 > picture[quarter, middle, 2]
    assert picture[3 * quarter, middle, 2] > 150 > picture[3 * quarter, middle, 0]


def test_retrieval_grid_shows_no_more_than_there_is(gallery, tmp_path, drawn):
    plot_retrieval_grid(gallery, gallery, own(gallery, 2), tmp_path / "grid.png", k=9, best=99, worst=99, random=99)
    lines = rows_of(drawn, 3)
    assert len(lines) == 13
    assert lines[-1][0]["title"] == "random\nlone"


def test_retrieval_grid_names_the_picture_that_is_missing_or_broken(gallery, tmp_path):
    missing = Path(gallery.attributes["image_path"][12])
    missing.unlink()
    with pytest.raises(InputError, match=re.escape(str(missing))):
        plot_retrieval_grid(gallery, gallery, own(gallery), tmp_path / "grid.png", random=99)
    missing.write_bytes(b"no picture")
    with pytest.raises(InputError, match=re.escape(str(missing))):
        plot_retrieval_grid(gallery, gallery, own(gallery), tmp_path / "grid.png", random=99)
    assert not (tmp_path / "grid.png").exists()


def test_retrieval_grid_refuses(gallery, tmp_path):
    bare = EmbeddingTable(gallery.ids, gallery.vectors, {"label": gallery.labels})
    with pytest.raises(InputError, match="gallery to have the attribute 'image_path'"):
        plot_retrieval_grid(gallery, bare, own(gallery), tmp_path / "grid.png")
    with pytest.raises(InputError, match="at least one query and one neighbour"):
        plot_retrieval_grid(gallery, gallery, own(gallery), tmp_path / "grid.png", best=0, worst=0, random=0)


def test_real_pictures(shared_root, tmp_path):
    folder = shared_root / "data" / "fashion-products" / "images"
    paths = sorted(folder.iterdir())[:12]
    labels = np.array(["a", "b"] * 6)
    vectors = np.random.default_rng(0).standard_normal((12, 4))
    pictures = EmbeddingTable(
        np.array([path.stem for path in paths]), vectors, {"label": labels, "image_path": np.array([*map(str, paths)])}
    )
    size(plot_retrieval_grid(pictures, pictures, own(pictures), tmp_path / "grid.png", best=1, worst=1, random=1))
