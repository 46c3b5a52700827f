import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from graphgan.encodings import EncodingError, Xtal2pngEncoding
from graphgan.encodings.png import read_pixels, read_pngs, write_pixels, write_pngs
from graphgan.encodings.stored import stored_kind
from graphgan.image_tensor import ImageTensor

GOLDEN = Path(__file__).parent / "xtal2png_golden"
FACTS = {"name": "xtal2png", "max_sites": 2}


def noise(count, side=14, channels=1, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def bare(tmp_path, *names):
    """A folder with images of the package, without encoding.json."""
    folder = tmp_path / "bare"
    folder.mkdir()
    for name in names:
        (folder / f"{name}.png").write_bytes((GOLDEN / f"{name}.png").read_bytes())
    return folder


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_written_is_read(tmp_path, channels):
    pixels = noise(3, channels=channels)
    files = write_pixels(tmp_path / "set", pixels, ["c", "a", "b"], FACTS | {"ranges": {"a": [1, 2]}})
    assert [file.name for file in files] == ["c.png", "a.png", "b.png"]
    again, names, state = read_pixels(tmp_path / "set")
    np.testing.assert_array_equal(again, pixels[[1, 2, 0]])
    assert names == ["a", "b", "c"] and state == FACTS | {"ranges": {"a": [1, 2]}}
    one, names, state = read_pixels(tmp_path / "set" / "c.png")
    np.testing.assert_array_equal(one, pixels[:1])
    assert names == ["c"] and state["max_sites"] == 2
    assert sorted(os.listdir(tmp_path)) == ["set"] and stored_kind(tmp_path / "set") == "xtal2png"


def test_images_and_their_encoding_are_read_back(tmp_path):
    encoding = Xtal2pngEncoding(max_sites=20, ranges={"a": [1, 9]}, count="fitted")
    levels = torch.randint(0, 256, (4, 1, 32, 32), generator=torch.Generator().manual_seed(0))
    images = ImageTensor(levels / 255)
    write_pngs(tmp_path / "set", encoding, images, list("abcd"))
    again, read = read_pngs(tmp_path / "set")
    assert again == encoding and torch.equal((read.values * 255).round(), levels.float())
    with pytest.raises(EncodingError, match="bits is None"):
        write_pngs(tmp_path / "floats", Xtal2pngEncoding(bits=None), images, list("abcd"))


def test_folders_of_the_package_are_read_with_its_ranges(tmp_path):
    encoding, images = read_pngs(bare(tmp_path, "twenty", "copper"))
    assert encoding == Xtal2pngEncoding()
    assert [len(crystal) for crystal in encoding.decode(images)] == [1, 20]
    colours, images = read_pngs(GOLDEN / "triclinic-rgb.png")
    assert colours == Xtal2pngEncoding(num_channels=3) and len(colours.decode(images)[0]) == 4


def test_other_channels_are_averaged():
    colour, _, _ = read_pixels(GOLDEN / "triclinic-rgb.png")
    grey, _, _ = read_pixels(GOLDEN / "triclinic.png")
    encoding = Xtal2pngEncoding()
    (one,), (three,) = (encoding.decode(encoding.of_pixels(pixels)) for pixels in (grey, colour))
    assert one == three
    mixed = np.stack([grey[..., 0], grey[..., 0] // 2, grey[..., 0] * 0], axis=-1)
    np.testing.assert_allclose(encoding.of_pixels(mixed).values[0, 0] * 255, mixed[0].mean(-1), atol=1e-4)
    wider = Xtal2pngEncoding(num_channels=2).of_pixels(grey)
    assert wider.values.shape == (1, 2, 64, 64) and torch.equal(wider.values[:, 0], wider.values[:, 1])
    with pytest.raises(EncodingError, match=r"\(64, 64\), expected \(20, 20\)"):
        Xtal2pngEncoding(max_sites=8).of_pixels(grey)


def test_names_fit_file_systems(tmp_path):
    names = ["mp-149", "../../etc/passwd", "Å b", "MP-149", "", ".hidden", "x" * 300, "a/b", "a?b"]
    files = write_pixels(tmp_path / "set", noise(9), names, FACTS)
    stems = ["mp-149", "_.._etc_passwd", "__b", "MP-149-2", "_", "hidden", "x" * 120, "a_b", "a_b-2"]
    assert [file.stem for file in files] == stems
    assert sorted(read_pixels(tmp_path / "set")[1]) == sorted(stems)


def test_a_set_is_replaced_and_nothing_else(tmp_path):
    place = tmp_path / "set"
    write_pixels(place, noise(3), list("abc"), FACTS)
    (place / "skipped.csv").write_text("entry,reason\n")
    write_pixels(place, noise(1), ["z"], FACTS)
    assert sorted(os.listdir(place)) == ["encoding.json", "z.png"] and os.listdir(tmp_path) == ["set"]
    (place / "notes.txt").write_text("mine")
    with pytest.raises(EncodingError, match=r"not replaced, since it holds 'notes.txt'"):
        write_pixels(place, noise(1), ["y"], FACTS)
    with pytest.raises(EncodingError, match=r"not replaced, since it holds 'copper.png'"):
        write_pixels(bare(tmp_path, "copper"), noise(1), ["y"], FACTS)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(EncodingError, match="is a file"):
        write_pixels(tmp_path / "file", noise(1), ["y"], FACTS)
    (tmp_path / "empty").mkdir()
    write_pixels(tmp_path / "empty", noise(1), ["y"], FACTS)
    assert read_pixels(place)[1] == ["z"] and read_pixels(tmp_path / "empty")[1] == ["y"]


def test_nothing_is_left_of_a_set_that_failed(tmp_path, monkeypatch):
    write_pixels(tmp_path / "set", noise(1), ["a"], FACTS)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(EncodingError, match="set: No space left on device"):
        write_pixels(tmp_path / "set", noise(2), ["b", "c"], FACTS)
    assert os.listdir(tmp_path) == ["set"] and read_pixels(tmp_path / "set")[1] == ["a"]


def test_arrays_that_are_no_images_are_refused(tmp_path):
    with pytest.raises(EncodingError, match=r"1 or 3 channels, not 4: write arrays \(.npz\)"):
        write_pixels(tmp_path / "set", noise(1, channels=4), ["a"], FACTS)
    for pixels, names in ((noise(1) / 255, ["a"]), (noise(1)[0], ["a"]), (noise(2), ["a"])):
        with pytest.raises(ValueError, match="names for"):
            write_pixels(tmp_path / "set", pixels, names, FACTS)
    assert not os.listdir(tmp_path)


def spoil(folder, case):
    """Put something wrong into a folder with the images copper and twenty; what the message must say."""
    bad = folder / "zinc.png"
    if case == "mode":
        Image.fromarray(noise(1, 64, 4)[0]).save(bad)
        return "zinc.png: mode RGBA, expected grey"
    if case == "palette":
        Image.open(GOLDEN / "copper.png").convert("P").save(bad)
        return "zinc.png: mode P, expected grey"
    if case == "mixed modes":
        Image.fromarray(noise(1, 64, 3)[0]).save(bad)
        return "zinc.png: 64 x 64 x 3 pixels, but copper.png has 64 x 64 x 1"
    if case == "mixed sizes":
        Image.fromarray(noise(1, 32)[0, ..., 0]).save(bad)
        return "zinc.png: 32 x 32 x 1 pixels, but copper.png has 64 x 64 x 1"
    if case == "not square":
        Image.fromarray(noise(1, 64)[0, :32, :, 0]).save(bad)
        return "zinc.png: 64 x 32 pixels, expected squares of 12 . max_sites, such as 64 x 64"
    if case == "small":
        Image.fromarray(noise(1, 12)[0, ..., 0]).save(bad)
        return "zinc.png: 12 x 12 pixels, expected squares"
    if case == "cut":
        data = (GOLDEN / "twenty.png").read_bytes()
        bad.write_bytes(data[: len(data) // 2])
    elif case == "altered":
        data = bytearray((GOLDEN / "twenty.png").read_bytes())
        data[60:120] = bytes(60)
        bad.write_bytes(data)
    elif case == "other":
        Image.fromarray(noise(1, 64)[0, ..., 0]).save(bad, format="TIFF")
    elif case == "folder":
        bad.mkdir()
        return "zinc.png: "
    elif case == "empty":
        bad.touch()
    return "zinc.png: no PNG image, or a damaged one"


CASES = "mode palette mixed-modes mixed-sizes not-square small cut altered other folder empty"


@pytest.mark.parametrize("case", CASES.split())
def test_what_is_wrong_is_said_in_one_line(tmp_path, case):
    folder = bare(tmp_path, "copper", "twenty")
    message = spoil(folder, case.replace("-", " "))
    with pytest.raises(EncodingError, match=message) as caught:
        read_pixels(folder)
    assert "\n" not in str(caught.value)


def test_every_cut_of_a_file_is_an_error_or_the_image(tmp_path):
    data = (GOLDEN / "copper.png").read_bytes()
    whole = read_pixels(GOLDEN / "copper.png")[0]
    file = tmp_path / "cut.png"
    for end in range(len(data)):
        file.write_bytes(data[:end])
        try:
            np.testing.assert_array_equal(read_pixels(file)[0], whole)
        except EncodingError:
            continue
        assert end >= len(data) - 20  # without checksums and the last chunk, which hold no pixels


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"max_sites": "52"}', '{"max_sites": 52}', '{"name": "graph", "max_sites": 52}']
)
def test_facts_that_are_none_are_refused(tmp_path, text):
    folder = bare(tmp_path, "copper")
    (folder / "encoding.json").write_text(text)
    with pytest.raises(EncodingError, match=r"encoding\.json: "):
        read_pngs(folder)


@pytest.mark.parametrize("wrong", [{"colour": 1}, {"bits": 0}, {"bits": "8"}, {"ranges": [1]}, {"max_sites": -3}])
def test_encodings_that_are_none_are_refused(tmp_path, wrong):
    folder = bare(tmp_path, "copper")
    (folder / "encoding.json").write_text(json.dumps({"name": "xtal2png", "max_sites": 52} | wrong))
    with pytest.raises(EncodingError):
        read_pngs(folder)


def test_resized_images_are_refused(tmp_path):
    folder = bare(tmp_path, "copper")
    (folder / "encoding.json").write_text(json.dumps(Xtal2pngEncoding(max_sites=20).state_dict()))
    with pytest.raises(EncodingError, match="64 x 64 pixels, expected 32 x 32: do not resize images"):
        read_pngs(folder)


def test_places_without_images_are_refused(tmp_path):
    with pytest.raises(EncodingError, match="holds no PNG files"):
        read_pixels(tmp_path)
    (tmp_path / "notes.txt").touch()
    for path in (tmp_path / "notes.txt", tmp_path / "missing.png", tmp_path / "missing"):
        with pytest.raises(EncodingError, match=path.name):
            read_pixels(path)
