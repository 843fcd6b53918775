import itertools
import re
import struct
import zipfile
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from minadv import data
from minadv.data import demo
from tests.shared import SHARED, needs_shared


def archive(path: Path, **arrays: object) -> str:
    np.savez(path, **arrays)
    return f"npz:{path}"


def pictures(folder: Path, sizes: dict[str, tuple[int, int]]) -> Path:
    for number, (name, size) in enumerate(sizes.items()):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (number * 40, 100, 200)).save(file)
    return folder


# --- the embedded data ---


def test_demo_is_ten_photographs_in_turn() -> None:
    test = data.load("demo")
    inputs, labels = test.tensors()
    assert test.classes == demo.CLASSES
    assert len(test.classes) == 10
    assert 500 <= len(test) <= 1000
    assert inputs.shape == (len(test), 3, 32, 32)
    assert inputs.dtype == torch.float32
    assert inputs.min() >= 0
    assert inputs.max() <= 1
    assert labels[:10].tolist() == list(range(10))
    assert labels.bincount(minlength=10).min() >= 40
    assert len(data.load("demo:train")) > 5 * len(test)


def test_demo_is_the_same_each_time() -> None:
    once, again = demo.load("test"), demo.load("test")
    assert once[0].tobytes() == again[0].tobytes()
    assert once[1].tobytes() == again[1].tobytes()


@pytest.mark.parametrize("photograph", demo.PHOTOGRAPHS, ids=lambda photograph: photograph.name)
def test_demo_photographs_are_inside_the_installed_packages(photograph: demo.Photograph) -> None:
    assert "site-packages" in demo.locate(photograph).parts


@pytest.mark.parametrize("size", [(512, 512), (741, 500), (451, 300), (1411, 1411)])
def test_demo_cells_of_the_splits_do_not_overlap(size: tuple[int, int]) -> None:
    uses = np.zeros(size[::-1], dtype=int)
    for left, upper, right, lower in itertools.chain(demo.cells(*size, "train"), demo.cells(*size, "test")):
        uses[upper:lower, left:right] += 1
    assert uses.max() == 1


def test_demo_training_patches_do_not_depend_on_any_test_pixel() -> None:
    with Image.open(demo.locate(demo.PHOTOGRAPHS[0])) as image:
        original = image.convert("RGB")
    pixels = np.array(original)
    for left, upper, right, lower in demo.cells(*original.size, "test"):
        pixels[upper:lower, left:right] = 255 - pixels[upper:lower, left:right]
    inverted = Image.fromarray(pixels)
    assert (demo.patches(inverted, "train") == demo.patches(original, "train")).all()
    assert not (demo.patches(inverted, "test") == demo.patches(original, "test")).all()


def test_demo_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"'scikit-image': pip install 'minadv\[demo\]'"):
        data.load("demo")


# --- what every data set can do ---


def test_batch_select_and_items_agree() -> None:
    whole = data.load("demo")
    chosen = whole.select([5, 2, 5])
    inputs, labels = whole.batch([5, 2, 5])
    assert torch.equal(chosen.tensors()[0], inputs)
    assert torch.equal(chosen.labels, labels)
    assert labels.tolist() == [5, 2, 5]
    image, label = chosen[-1]
    assert torch.equal(image, inputs[2])
    assert label == 5
    assert torch.equal(whole.tensors(3)[0], whole.batch(torch.arange(3))[0])
    assert len(whole.tensors(10**6)[1]) == len(whole)
    assert whole.tensors(0)[0].shape == (0, 3, 32, 32)


def test_images_stay_bytes_until_they_are_read() -> None:
    assert data.load("demo").images.pixels.dtype == torch.uint8


def test_data_are_shown_without_their_pixels(tmp_path: Path) -> None:
    demo = data.load("demo")
    assert repr(demo) == f"<Data demo: {len(demo)} images 3×32×32, 10 classes>"
    assert repr(demo.images) == f"<InMemory: {len(demo)} images 3×32×32>"
    spec = f"folder:{pictures(tmp_path, {'cat/1.png': (8, 8)})}?size=4&mode=L"
    assert repr(data.load(spec).images) == "<InFiles: 1 image file L 4×4>"


def test_it_iterates_and_goes_into_a_loader() -> None:
    few = data.load("demo").select(range(7))
    assert [label for _, label in few] == list(range(7))
    batches = list(DataLoader(few, batch_size=4))
    assert [tuple(inputs.shape) for inputs, _ in batches] == [(4, 3, 32, 32), (3, 3, 32, 32)]


def test_wrong_rows_are_named() -> None:
    few = data.load("demo").select(range(7))
    for wrong in (7, -8):
        with pytest.raises(IndexError, match=f"index {wrong} is not in 'demo', which has 7 samples"):
            few.batch([0, wrong])
    with pytest.raises(ValueError, match="limit must not be negative, got -1"):
        few.tensors(-1)


# --- archives ---


@needs_shared
def test_npz_reads_grey_and_colour() -> None:
    grey = data.load(f"npz:{SHARED / 'mnist_test.npz'}")
    assert len(grey) == 10000
    assert grey[0][0].shape == (1, 28, 28)
    assert grey[0][1] == 7
    assert grey.classes == tuple("0123456789")
    colour = data.load(f"npz:{SHARED / 'imagenet_like_16.npz'}")
    assert colour.tensors()[0].shape == (16, 3, 224, 224)


def test_npz_reads_floats_and_class_names(tmp_path: Path) -> None:
    images = np.linspace(0, 1, 2 * 4 * 5 * 3).reshape(2, 4, 5, 3)
    spec = archive(tmp_path / "a.npz", images=images, labels=np.array([1, 0]), classes=np.array(["cat", "dog"]))
    loaded = data.load(spec)
    inputs, labels = loaded.tensors()
    assert loaded.name == spec
    assert loaded.classes == ("cat", "dog")
    assert inputs.dtype == torch.float32
    assert torch.equal(inputs, torch.from_numpy(images.astype(np.float32)).permute(0, 3, 1, 2))
    assert labels.tolist() == [1, 0]


IMAGES = np.zeros((2, 4, 4, 3), dtype=np.uint8)
LABELS = np.array([0, 1])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": IMAGES, "labels": LABELS}, r"no array 'images', only \['labels', 'pictures'\]"),
        ({"images": IMAGES}, "no array 'labels'"),
        ({"images": IMAGES, "labels": np.array([0])}, "2 images but 1 labels"),
        ({"images": IMAGES, "labels": np.array([0.0, 1.0])}, "labels are float64"),
        ({"images": IMAGES, "labels": np.array([0, -1])}, "labels go down to -1"),
        ({"images": IMAGES, "labels": np.array([0, 2**31 - 1])}, "labels go up to 2147483647"),
        ({"images": IMAGES[:, :0], "labels": np.array([0, 1])}, "images have the shape"),
        ({"images": IMAGES.astype(np.int64), "labels": LABELS}, "images are int64, needed is uint8"),
        ({"images": IMAGES.transpose(0, 3, 1, 2), "labels": LABELS}, r"the shape \(2, 3, 4, 4\).*come last"),
        ({"images": IMAGES + 2.0, "labels": LABELS}, r"in \[0, 1\], got values from 2.0 to 2.0: rescale"),
        ({"images": IMAGES + 200.0, "labels": LABELS}, r"in \[0, 1\], got .*: divide by 255"),
        ({"images": IMAGES + 1e300, "labels": LABELS}, "got values from inf to inf: leave these images out"),
        ({"images": IMAGES + np.nan, "labels": LABELS}, r"in \[0, 1\], got NaN: leave these images out"),
        ({"images": IMAGES, "labels": LABELS, "classes": np.array(["a"])}, "needed are 2 or more strings"),
        ({"images": np.array([{}, {}], dtype=object), "labels": LABELS}, "cannot be read as plain numbers"),
    ],
)
def test_npz_says_what_is_wrong(tmp_path: Path, arrays: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.load(archive(tmp_path / "a.npz", **arrays))


def test_bytes_of_another_range_are_warned_of(tmp_path: Path) -> None:
    path, labels = tmp_path / "digits.npz", np.arange(3)
    images = np.zeros((3, 8, 8), np.uint8)
    for largest in (0, 17, 255):
        images[1, 2, 3] = largest
        np.savez(path, images=images, labels=labels)
        data.load(f"npz:{path}")
    images[1, 2, 3] = 16
    np.savez(path, images=images, labels=labels)
    with pytest.warns(UserWarning, match="uint8 and none of their values is above 16"):
        data.load(f"npz:{path}")


def test_npz_damaged_or_missing(tmp_path: Path) -> None:
    whole = tmp_path / "whole.npz"
    archive(whole, images=np.arange(2 * 40 * 40, dtype=np.uint8).reshape(2, 40, 40), labels=LABELS)
    content = bytearray(whole.read_bytes())
    content[300:400] = bytes(100)
    for name, broken in (("cut.npz", content[:500]), ("changed.npz", content), ("text.npz", b"no archive")):
        (tmp_path / name).write_bytes(broken)
        with pytest.raises(ValueError, match=f"{name} is .*damaged"):
            data.load(f"npz:{tmp_path / name}")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        data.load(f"npz:{tmp_path / 'nothing.npz'}")


# --- folders ---


def test_folder_is_a_class_per_sub_folder(tmp_path: Path) -> None:
    pictures(tmp_path, {"dog/1.png": (6, 4), "cat/2.png": (6, 4), "cat/1.jpg": (6, 4)})
    loaded = data.load(f"folder:{tmp_path}")
    inputs, labels = loaded.tensors()
    assert loaded.classes == ("cat", "dog")
    assert labels.tolist() == [0, 0, 1]
    assert inputs.shape == (3, 3, 4, 6)
    assert torch.allclose(inputs[2, :, 0, 0] * 255, torch.tensor([0.0, 100.0, 200.0]))
    assert loaded.select([2])[0][1] == 1
    assert data.load(f"folder:{tmp_path}?mode=L")[0][0].shape == (1, 4, 6)


def test_folder_of_numbers_in_another_order_than_theirs_says_so(tmp_path: Path) -> None:
    pictures(tmp_path, {f"{label}/a.png": (4, 4) for label in range(11)})
    with pytest.warns(UserWarning, match="folder 10 is label 2; .*pad them"):
        loaded = data.load(f"folder:{tmp_path}")
    assert loaded.classes[:3] == ("0", "1", "10")


def test_folder_with_different_sizes_names_them_and_the_remedy(tmp_path: Path) -> None:
    pictures(tmp_path, {"a/1.png": (6, 4), "a/2.png": (6, 4), "b/odd.png": (9, 7)})
    with pytest.raises(ValueError, match=r"most are 6×4.*1 differ: b/odd.png 9×7; add \?size=224"):
        data.load(f"folder:{tmp_path}")
    assert data.load(f"folder:{tmp_path}?size=5").tensors()[0].shape == (3, 3, 5, 5)


def test_folder_with_a_size_crops_the_centre(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    pixels = np.zeros((10, 30), dtype=np.uint8)
    pixels[:, 10:20] = 255
    Image.fromarray(pixels).save(tmp_path / "a" / "1.png")
    image, _ = data.load(f"folder:{tmp_path}?size=10&mode=L")[0]
    assert image.shape == (1, 10, 10)
    assert (image == 1).all()


def test_folder_names_a_damaged_image(tmp_path: Path) -> None:
    pictures(tmp_path, {"a/1.png": (60, 40), "a/2.png": (60, 40)})
    whole = (tmp_path / "a" / "2.png").read_bytes()
    (tmp_path / "a" / "2.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"2\.png cannot be read as an image"):
        data.load(f"folder:{tmp_path}").tensors()
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "a" / "2.png")
    with pytest.raises(ValueError, match=r"2\.png .* more than 8 bits, .*: save it as 8 bits"):
        data.load(f"folder:{tmp_path}?size=8").tensors()
    (tmp_path / "a" / "2.png").write_text("no image at all")
    with pytest.raises(ValueError, match=r"2\.png cannot be read as an image"):
        data.load(f"folder:{tmp_path}")


def test_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        data.load(f"folder:{tmp_path / 'nothing'}")
    with pytest.raises(ValueError, match="has no sub-folders"):
        data.load(f"folder:{tmp_path}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty has no images"):
        data.load(f"folder:{tmp_path}")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?size=0", "must be a positive whole number of pixels, got '0'"),
        ("?size=10001", "got '10001': at most 10000"),
        ("?size=big", "must be a positive whole number of pixels, got 'big'"),
        ("?mode=CMYK", r"must be RGB \(colour\) or L \(grey\), got 'CMYK'"),
        ("?crop=3", "options other than size and mode"),
        ("?", "options other than size and mode"),
    ],
)
def test_folder_options(tmp_path: Path, query: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.load(f"folder:{tmp_path}{query}")


# --- torchvision's ---


def test_torchvision_reads_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28)
    for split in ("train", "t10k"):
        (raw / f"{split}-images-idx3-ubyte").write_bytes(struct.pack(">iiii", 2051, 2, 28, 28) + pixels.tobytes())
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 2049, 2) + bytes([3, 9]))
    monkeypatch.setenv("MINADV_DATA", str(tmp_path))
    loaded = data.load("torchvision:mnist")
    inputs, labels = loaded.tensors()
    assert torch.equal((inputs * 255).round(), torch.from_numpy(pixels).unsqueeze(1).float())
    assert labels.tolist() == [3, 9]
    assert len(loaded.classes) == 10


def test_torchvision_says_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise URLError("no network")

    monkeypatch.setenv("MINADV_DATA", str(tmp_path))
    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", refuse)
    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", refuse)
    for name, file in (
        ("mnist", "MNIST/raw/t10k-images-idx3-ubyte"),
        ("cifar10", r"cifar-10-python\.tar\.gz"),
    ):
        with pytest.raises(RuntimeError, match=rf"not in {tmp_path}.*put there {file}.*MINADV_DATA"):
            data.load(f"torchvision:{name}")


# --- specs ---


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("dmo", "unknown data spec 'dmo'; did you mean 'demo'"),
        ("demo:valid", r"demo \(test\) or demo:train"),
        ("npz:", "is incomplete; specs are demo"),
        ("torchvision:mnits", "did you mean 'mnist'"),
        ("cifar10", r"unknown data spec 'cifar10'; did you mean 'torchvision:cifar10'\?"),
        ("d/ok.npz", r"unknown data spec 'd/ok.npz'; did you mean 'npz:d/ok.npz'\?"),
        ("ok.pth", r"did you mean 'pt:ok.pth'\?"),
        (str(Path(__file__).parent), "did you mean 'folder:/.*tests'"),
        ("", "unknown data spec ''; known"),
    ],
)
def test_wrong_specs(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.load(spec)


def test_names_are_described() -> None:
    assert data.names() == tuple(description.spec for description in data.describe())
    assert {"demo", "demo:train", "torchvision:cifar10"} <= set(data.names())


@pytest.mark.parametrize("last", [False, True])
def test_pt_reads_a_dictionary_of_tensors(tmp_path: Path, last: bool):
    images = torch.randint(0, 256, (5, 3, 12, 14), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    stored = images.permute(0, 2, 3, 1) if last else images
    torch.save({"images": stored, "labels": torch.arange(5)}, tmp_path / "five.pth")
    found = data.load(f"pt:{tmp_path / 'five.pth'}")
    inputs, labels = found.tensors()
    assert torch.equal(inputs, images.float() / 255)
    assert labels.tolist() == [0, 1, 2, 3, 4]
    assert found.classes == ("0", "1", "2", "3", "4")


@pytest.mark.parametrize("kind", [torch.uint8, torch.uint16, torch.int32])
def test_pt_takes_what_training_leaves_behind(tmp_path: Path, kind: torch.dtype):
    images = torch.rand(2, 3, 4, 4, dtype=torch.bfloat16, requires_grad=True)
    torch.save({"images": images, "labels": torch.arange(2).to(kind)}, tmp_path / "two.pt")
    inputs, labels = data.load(f"pt:{tmp_path / 'two.pt'}").tensors()
    assert torch.equal(inputs, images.detach().float())
    assert not inputs.requires_grad
    assert labels.tolist() == [0, 1]


class _Runs:
    def __reduce__(self):
        return (print, ("this code was run",))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"images": _Runs(), "labels": torch.arange(1)}, "more than tensors"),
        ([torch.zeros(2)], "holds a list"),
        ({"pictures": torch.zeros(2)}, "has ['pictures']"),
        ({"images": torch.zeros(2, 3, 4, 4), "labels": torch.arange(3)}, "needed are 2 integers"),
        ({"images": torch.zeros(2, 5, 4, 4), "labels": torch.arange(2)}, "have the shape"),
        ({"images": torch.full((2, 3, 4, 4), 7.0), "labels": torch.arange(2)}, "to 7.0: divide by 255"),
        (
            {"images": torch.zeros(2, 3, 4, 4, dtype=torch.int64), "labels": torch.arange(2)},
            "images are torch.int64",
        ),
        ({"images": torch.zeros(1, 3, 4, 4), "labels": torch.tensor([-1])}, "go down to -1"),
        ({"images": torch.zeros(1, 3, 4, 4), "labels": torch.tensor([2**62])}, "go up to 4611686018427387904"),
        ({"images": torch.zeros(1, 3, 4, 4), "labels": torch.tensor([True])}, "torch.bool (1,), needed are 1"),
        ({"images": torch.zeros(1, 3, 4, 4), "labels": torch.tensor([1j])}, "torch.complex64 (1,), needed are 1"),
        ({"images": torch.zeros(1, 3, 4, 4).to_sparse(), "labels": torch.arange(1)}, "not a dense one"),
        ({"images": torch.zeros(1, 3, 4, 4), "labels": torch.zeros(1, device="meta")}, "without its numbers"),
        ({"images": torch.zeros(1, 3, 0, 0), "labels": torch.arange(1)}, "have the shape (1, 3, 0, 0)"),
    ],
)
def test_pt_refuses_what_is_no_data_set(
    tmp_path: Path, content: object, words: str, capsys: pytest.CaptureFixture[str]
):
    torch.save(content, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match=re.escape(words)):
        data.load(f"pt:{tmp_path / 'bad.pt'}")
    assert "this code was run" not in capsys.readouterr().out


def test_pt_names_the_spec_of_a_numpy_archive(tmp_path: Path):
    np.savez(tmp_path / "a.npz", images=np.zeros((1, 4, 4, 3), np.uint8), labels=np.zeros(1, int))
    with pytest.raises(ValueError, match=re.escape(f"npz:{tmp_path / 'a.npz'}")):
        data.load(f"pt:{tmp_path / 'a.npz'}")


def test_samples_are_chosen_by_numbers_or_a_mask() -> None:
    found = data.load("demo")
    mask = torch.zeros(len(found), dtype=torch.bool)
    mask[[3, 7, 11]] = True
    expected = found.labels[mask]
    for chosen in (mask, mask.numpy(), mask.tolist(), [3, 7, 11], np.array([3, 7, 11]), torch.tensor([3, 7, 11])):
        assert torch.equal(found.select(chosen).labels, expected)
        assert torch.equal(found.batch(chosen)[0], found.batch([3, 7, 11])[0])
    assert len(found.select([])) == 0
    with pytest.raises(IndexError, match="a mask must have shape"):
        found.select(mask[:5])
    with pytest.raises(IndexError, match="whole numbers or a mask"):
        found.select(torch.tensor([1.9]))


@pytest.mark.parametrize(
    "content", [b"no array", b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'shape': (" + b"(" * 300]
)
def test_a_damaged_array_of_an_archive_is_told_with_its_file(tmp_path: Path, content: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", content)
        archive.writestr("labels.npy", content)
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "a.npz"))):
        data.load(f"npz:{tmp_path / 'a.npz'}")


def test_damaged_downloads_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINADV_DATA", str(tmp_path))
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte").write_bytes(b"garbage, and more of it")
    with pytest.raises(ValueError, match=r"torchvision:mnist in .* is damaged"):
        data.load("torchvision:mnist")


def test_files_of_the_system_are_no_images(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "1.png")
        (tmp_path / name / "._1.png").write_bytes(b"of macOS")
    assert len(data.load(f"folder:{tmp_path}")) == 2
