"""Files of named arrays: what is taken for what, labels, images, weights; .npz, .safetensors and Parquet."""

import gzip
import io
import json
import pickle
import zipfile

import numpy as np
import polars as pl
import pytest

from service.datasets.reading import ANY, NPZ, PARQUET, SAFETENSORS, Upload, Wish, read_upload
from service.datasets.targets import Targets
from service.errors import InvalidDataset, TooLarge

DRAWN = np.random.default_rng(0)
X, Y = DRAWN.normal(size=(30, 3)), DRAWN.normal(size=(30, 2))
LABELS = np.arange(30) % 4


def npz(*unnamed: np.ndarray, **arrays: np.ndarray) -> bytes:
    held = io.BytesIO()
    np.savez(held, *unnamed, allow_pickle=True, **arrays)
    return held.getvalue()


def safetensors(**arrays: np.ndarray) -> bytes:
    header, data = {}, b""
    for name, array in arrays.items():
        kind = {"f": "F", "i": "I", "u": "U"}[array.dtype.kind] + str(8 * array.itemsize)
        place = [len(data), len(data) + array.nbytes]
        header[name.replace("__", ".")] = {"dtype": kind, "shape": list(array.shape), "data_offsets": place}
        data += array.tobytes()
    text = json.dumps(header | {"__metadata__": {"step": "3"}}).encode()
    return len(text).to_bytes(8, "little") + text + data


def read(content: bytes, media: str = NPZ, targets: Targets = "auto", **wanted: list[str]) -> Upload:
    return read_upload(content, media, Wish(wanted, targets))


@pytest.mark.parametrize(("write", "media"), [(npz, NPZ), (safetensors, SAFETENSORS), (safetensors, ANY), (npz, ANY)])
def test_arrays_of_either_kind_of_file_are_read(write, media):
    found = read(write(x=X, y=Y, x_test=X[:5], y_test=Y[:5]), media)
    assert found.arrays["x"].tolist() == X.tolist() and found.arrays["y_test"].tolist() == Y[:5].tolist()
    assert found.columns == {name: [name] for name in ("x", "y", "x_test", "y_test")} and found.notes == []


@pytest.mark.parametrize("kind", ["<f8", "<f4", "<f2", "<i8", "<i2", "|u1", "<u4"])
def test_every_kind_of_number_in_a_safetensors_file_is_read_exactly(kind):
    array = np.array([[1, 2], [3, 4]], kind)
    assert read(safetensors(x=array, y=array), SAFETENSORS).arrays["x"].tolist() == [[1, 2], [3, 4]]


def test_bfloat16_is_read():
    values = np.array([[1.0, -2.5], [0.15625, 3e38]], np.float32)
    cut = (values.view(np.uint32) >> 16).astype("<u2")
    content = safetensors(x=cut, y=cut).replace(b'"U16"', b'"BF16"').replace(b"{", b" {", 1)
    length = int.from_bytes(content[:8], "little")
    content = (length + 3).to_bytes(8, "little") + content[8:]
    found = read(content, SAFETENSORS).arrays["x"]
    assert found[0].tolist() == [1, -2.5] and found[1, 0] == 0.15625 and found[1, 1] == pytest.approx(3e38, rel=0.01)


def test_weights_with_biases_and_dotted_names_are_kept():
    assert set(read(npz(w1=X, w2=Y, b1=X[:, 0], b2=Y[0])).arrays) == {"w1", "w2", "b1", "b2"}
    assert set(read(safetensors(w1=X, b1=X[0]), SAFETENSORS).arrays) == {"w1", "b1"}
    assert set(read(safetensors(net__0__weight=X, net__0__bias=X[0]), ANY).arrays) == {"net.0.weight", "net.0.bias"}
    attention = read(safetensors(**{"net__0__in_proj_weight": X, "net__0__out_proj__weight": X}), ANY)
    assert set(attention.arrays) == {"net.0.in_proj_weight", "net.0.out_proj.weight"}
    with pytest.raises(InvalidDataset, match="b1 and no w1"):
        read(npz(b1=X[0]))


@pytest.mark.parametrize(
    "names",
    [
        ("x", "y", "x_test", "y_test"),
        ("X", "Y", "X_test", "Y_test"),
        ("x_train", "y_train", "x_test", "y_test"),
        ("X_train", "y_train", "X_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("images", "labels"),
        ("data", "target"),
    ],
)
def test_data_is_found_under_the_names_that_it_is_distributed_with(names):
    arrays = dict(zip(names, (X, Y, X[:5], Y[:5]), strict=False))
    found = read(npz(**arrays, val_images=X, val_labels=Y, meta=np.array(["a"])))
    assert list(found.columns.values()) == [[name] for name in names]
    assert found.left_out == ["val_images", "val_labels", "meta"]
    assert found.arrays["y"].tolist() == Y.tolist()


def test_mnist_as_it_is_distributed_needs_a_share_of_its_rows_and_nothing_else():
    images = {"x_train": (60_000, 28, 28), "x_test": (10_000, 28, 28)}
    pixels = {name: np.zeros(shape, np.uint8) for name, shape in images.items()}
    labels = {"y_train": np.arange(60_000) % 10, "y_test": np.arange(10_000) % 10}
    with pytest.raises(TooLarge, match=r"x_train \(60000, 28, 28\).*54,950,000 numbers are over .*of 60,000 rows"):
        read(npz(**pixels, **labels))
    cut = {name: array[:500] for name, array in (pixels | labels).items()}
    found = read(npz(**cut))
    assert found.arrays["x"].shape == (500, 1, 28, 28) and found.arrays["y"].shape == (500, 10)
    assert any("784 inputs" in note for note in found.notes) and any("one-hot" in note for note in found.notes)
    assert found.losses == ["cross_entropy", "logistic"]


def test_images_keep_their_shape_and_get_their_channels_first():
    first, last = DRAWN.normal(size=(6, 3, 8, 9)), DRAWN.normal(size=(6, 8, 9, 3))
    assert read(npz(x=first, y=Y[:6])).arrays["x"].tolist() == first.tolist()
    found = read(npz(x=last, y=Y[:6]))
    assert found.arrays["x"].tolist() == last.transpose(0, 3, 1, 2).tolist() and "channels last" in found.notes[0]
    for names in (("images", "labels"), ("x", "y")):
        gray = dict(zip(names, (np.zeros((6, 5, 5), np.uint8 if names[0] == "x" else float), Y[:6]), strict=True))
        assert read(npz(**gray)).arrays["x"].shape == (6, 1, 5, 5)
    # a sequence of vectors
    assert read(npz(x=np.zeros((6, 5, 5)), y=Y[:6])).arrays["x"].shape == (6, 5, 5)
    for shape in ((6, 1, 5, 5), (6, 3, 3, 3), (6, 4, 4, 3), (6, 7)):
        assert read(npz(x=np.zeros(shape), y=Y[:6])).arrays["x"].shape == shape


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"y": LABELS}, np.eye(4)[LABELS]),
        ({"y": LABELS.astype(np.uint8)}, np.eye(4)[LABELS]),
        ({"y": LABELS + 1}, np.eye(4)[LABELS]),
        ({"y": 2 * (LABELS % 2) - 1}, np.eye(2)[LABELS % 2]),
        ({"y": LABELS % 2 == 1}, np.eye(2)[LABELS % 2]),
        ({"labels": LABELS[:, None]}, np.eye(4)[LABELS]),
        # numbers to fit
        ({"y": LABELS[:, None]}, LABELS[:, None]),
        ({"y": LABELS.astype(float)}, LABELS[:, None]),
        ({"y": np.c_[LABELS, LABELS]}, np.c_[LABELS, LABELS]),
    ],
)
def test_whole_numbers_one_per_row_are_labels_and_columns_are_numbers(arrays, expected):
    found = read(npz(x=X, **arrays))
    assert found.arrays["y"].tolist() == expected.tolist()
    assert any("one-hot" in note for note in found.notes) == (expected.shape[1] > 1 and expected.max() == 1)


def test_the_caller_says_whether_whole_numbers_are_labels():
    assert read(npz(x=X, y=LABELS), targets="numbers").arrays["y"].tolist() == LABELS[:, None].tolist()
    for labels in (LABELS[:, None], LABELS.astype(float)):
        assert read(npz(x=X, y=labels), targets="classes").arrays["y"].tolist() == np.eye(4)[LABELS].tolist()
    table = read_upload(b"x0,y0\n1,3\n2,5\n3,3\n", "text/csv", Wish({}, "classes"))
    assert table.arrays["y"].tolist() == [[1, 0], [0, 1], [1, 0]] and "3, 5" in table.notes[0]
    for wrong in (Y[:, :1], Y):
        with pytest.raises(InvalidDataset, match="labels are"):
            read(npz(x=X, y=wrong), targets="classes")
    with pytest.raises(InvalidDataset, match=r"\?targets=numbers .*\?targets=classes"):
        read(npz(x=X, y=np.arange(30)))


def test_test_labels_share_the_classes_of_the_training_labels():
    found = read(npz(x=X, y=LABELS % 2, x_test=X[:2], y_test=np.array([1, 5])))
    assert found.arrays["y"].shape == (30, 3) and found.arrays["y_test"].tolist() == [[0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("y", "losses"),
    [
        (np.eye(3)[LABELS % 3], ["cross_entropy", "logistic"]),
        (np.full((30, 2), 0.5), ["cross_entropy", "logistic"]),
        (np.eye(3)[LABELS % 3] * 2 - 1, ["logistic"]),
        (np.ones((30, 1)), ["logistic"]),
        (LABELS[:, None], []),
        (Y, []),
    ],
)
def test_which_losses_over_classes_can_read_the_targets_is_known_at_once(y, losses):
    assert read(npz(x=X, y=y)).losses == losses


def test_what_is_missing_is_said_at_once():
    for content in (npz(X, Y), npz(foo=X), npz(x=X), npz(y=Y)):
        with pytest.raises(InvalidDataset, match=r"no array is .*np.savez\(file, x=X, y=Y\), or say .*\?x=\w+&y=\w+"):
            read(content)
    assert read(npz(X, Y), x=["arr_0"], y=["arr_1"]).columns == {"x": ["arr_0"], "y": ["arr_1"]}
    with pytest.raises(InvalidDataset) as error:
        read(npz(x=X, y=Y[:4, :, None, None], x_test=X[:, :2], y_test=Y))
    assert len(error.value.errors) == 4
    with pytest.raises(InvalidDataset, match="x, x_train may each be x"):
        read(npz(x=X, x_train=X, y=Y))


@pytest.mark.parametrize("extra", [np.array(["a"]), np.array([{}], dtype=object), np.array([1j]), np.array(3.0)])
def test_an_array_that_nothing_reads_is_left_out_by_name_and_one_that_is_read_is_refused(extra):
    assert read(npz(x=X, y=Y, more=extra)).left_out == ["more"]
    with pytest.raises(InvalidDataset, match=r"^y (has dtype|is empty|has shape|.* rows)"):
        read(npz(x=X[:1], y=extra))


def test_archives_of_python_2_and_of_macos_are_read():
    members = zipfile.ZipFile(io.BytesIO(npz(x=X, y=Y)))
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("mine/", b"")
        for name in ("x", "y"):
            old = members.read(f"{name}.npy")
            head = old[:128].replace(b"(30, ", b"(30L, ").replace(b", }  ", b", } ")
            archive.writestr(f"mine/{name}.npy", head + old[128:])
            archive.writestr(f"__MACOSX/mine/._{name}.npy", b"\0\5\x16\7")
        archive.writestr("mine/.DS_Store", b"\0")
        archive.writestr("mine/read me.txt", b"hello")
    found = read(held.getvalue())
    assert found.arrays["x"].tolist() == X.tolist() and found.left_out == ["read me.txt"]


def parquet(**columns: object) -> bytes:
    held = io.BytesIO()
    pl.DataFrame(columns).write_parquet(held)
    return held.getvalue()


def test_a_parquet_table_follows_the_rules_of_other_tables():
    found = read(parquet(x0=[1, 2], y0=[True, False], name=["a", "b"], x1=[0.5, 1.5]), PARQUET)
    assert found.arrays["x"].tolist() == [[1, 0.5], [2, 1.5]] and found.left_out == ["name"]
    for wrong, told in (
        ({"x0": [1, 2], "year": [1, 2]}, r"year .*\?x="),
        ({"x0": [1, 2], "y0": [1, None]}, "row 2, column y0 holds no number"),
        ({"x0": [1.0, float("inf")], "y0": [1, 2]}, "row 2, column x0 is infinite"),
        ({"x0": [1, 2], "y0": ["1", "2"]}, "column y0 holds .*string"),
    ):
        with pytest.raises(InvalidDataset, match=told):
            read(parquet(**wrong), PARQUET)
    padded = parquet(x=[1, 2], y=[3, 4], x_test=[5, None], y_test=[6, None])
    assert read(padded, PARQUET).arrays["x_test"].tolist() == [[5]]


def test_a_file_under_the_content_type_of_another_kind_is_told_so():
    for content, media, told in (
        (npz(x=X, y=Y), "text/csv", "the body is zip"),
        (parquet(x=[1], y=[1]), "text/csv", "the body is Parquet"),
        (parquet(x=[1], y=[1]), NPZ, f"it looks like {PARQUET}"),
        (npz(x=X, y=Y), PARQUET, f"it looks like {NPZ}"),
    ):
        with pytest.raises(InvalidDataset, match=told):
            read(content, media)


def test_binary_of_another_kind_is_told_what_it_is_and_what_to_send():
    one = io.BytesIO()
    np.save(one, X)
    for content, told in (
        (one.getvalue(), r"the body is \.npy: write x and y into one file: np\.savez"),
        (gzip.compress(npz(x=X, y=Y)), "the body is gzip: send what it was made of"),
        (pickle.dumps({"x": [1.0]}), "the body is a pickle, and none is ever read"),
        (b"x0,y0\n1,2\n", "the body is text: send a table as text/csv"),
        (bytes(range(200, 256)) * 4, "not a .safetensors file"),
        (b"", "not a .safetensors file"),
    ):
        with pytest.raises(InvalidDataset, match=told):
            read(content, "application/octet-stream")
