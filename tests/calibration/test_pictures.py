"""The pictures of a folder: which are taken, how they are read, and which are left out."""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from tests.calibration.material import coloured
from triton_yolo.calibration.errors import CalibrationError
from triton_yolo.calibration.pictures import FEWEST, annotated, find_pictures, read_pictures
from triton_yolo.clients.coco import AnnotationError, Annotations
from triton_yolo.nms.letterbox import PAD, Letterbox

BOX = Letterbox(64, 96)


def folder_of(folder: Path, count: int = 10, suffix: str = "png") -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        PIL.Image.new("RGB", (96, 64), (number, 2 * number, 255)).save(folder / f"{number:02}.{suffix}")
    return folder


def test_pictures_are_read_in_the_order_of_their_names_as_rgb_with_their_hashes(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    found = read_pictures(find_pictures(folder)[::-1], BOX, 100)

    assert [file.name for file in found.files] == [f"{i:02}.png" for i in range(10)]
    assert found.hashes == tuple(hashlib.sha256(file.read_bytes()).hexdigest() for file in found.files)
    assert (len(found), found.skipped) == (10, {})
    for number, (pixels, size) in enumerate(found):
        assert (pixels.shape, pixels.dtype, size) == ((3, 64, 96), np.uint8, (64, 96))
        assert pixels[:, 5, 5].tolist() == [number, 2 * number, 255]


def test_pictures_can_be_gone_through_again(tmp_path: Path) -> None:
    found = coloured(tmp_path, (32, 48))
    once, again = ([pixels for pixels, _ in found] for _ in range(2))
    assert len(once) == 8
    np.testing.assert_array_equal(once, again)


def test_other_sizes_are_letterboxed_as_the_repository_does(tmp_path: Path) -> None:
    for number in range(FEWEST):
        PIL.Image.new("RGB", (100, 50), (255, 0, 0)).save(tmp_path / f"{number}.png")
    for centred, top in ((True, 8), (False, 0)):
        letterbox = Letterbox(64, 96, centred)
        pixels, size = next(iter(read_pictures(find_pictures(tmp_path), letterbox, 10)))
        assert size == (50, 100)
        assert letterbox.place(*size) == (top, 0, 48, 96)
        inside = np.zeros(64, bool)
        inside[top : top + 48] = True
        assert (pixels[0, inside] == 255).all() and (pixels[1:, inside] == 0).all()
        assert (pixels[:, ~inside] == PAD).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright_as_their_exif_orientation_says(orientation: int, tmp_path: Path) -> None:
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:20, :30], upright[:20, 30:], upright[20:, :30] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    # How a camera stores it, from the definition of the tag: where the first row and column are.
    stored = {
        **{1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1]},
        **{5: upright.transpose(1, 0, 2), 6: upright.transpose(1, 0, 2)[::-1]},
        **{7: upright.transpose(1, 0, 2)[::-1, ::-1], 8: upright.transpose(1, 0, 2)[:, ::-1]},
    }[orientation]
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    for number in range(FEWEST):
        PIL.Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / f"{number}.png", exif=exif)

    pixels, size = next(iter(read_pictures(find_pictures(tmp_path), Letterbox(40, 60), 10)))

    assert size == (40, 60)
    np.testing.assert_array_equal(pixels.transpose(1, 2, 0), upright)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK"])
def test_grey_transparent_and_other_pictures_are_read_as_rgb(mode: str, tmp_path: Path) -> None:
    suffix = "jpg" if mode == "CMYK" else "png"
    for number in range(FEWEST):
        PIL.Image.new("RGB", (96, 64), (255, 255, 255)).convert(mode).save(tmp_path / f"{number}.{suffix}")
    found = read_pictures(find_pictures(tmp_path), BOX, 10)
    assert not found.skipped
    for pixels, _ in found:
        assert pixels.shape == (3, 64, 96) and pixels.min() > 250


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "no image": lambda content: b"this is no image, whatever it is called",
    "half": lambda content: content[: len(content) // 2],
    "without its end": lambda content: content[:-100],
    "the header alone": lambda content: content[:20],
    "another beginning": lambda content: b"\0\0\0\0" + content[4:],
    "HTML": lambda content: b"<!DOCTYPE html><html><body>404</body></html>",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_damaged_pictures_are_left_out_and_named(suffix: str, damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    folder_of(tmp_path, 10, suffix)
    bad = tmp_path / f"03.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    PIL.Image.fromarray(noise).save(bad)
    bad.write_bytes(damage(bad.read_bytes()))

    found = read_pictures(find_pictures(tmp_path), BOX, 100)

    assert list(found.skipped) == [bad]
    assert found.skipped[bad] and "\n" not in found.skipped[bad]
    assert len(found.files) == len(found.hashes) == 9
    assert bad not in found.files


def test_a_picture_whose_exif_is_damaged_is_left_out_and_named(tmp_path: Path) -> None:
    folder_of(tmp_path, 10, "jpg")
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0
    bad = tmp_path / "03.jpg"
    PIL.Image.new("RGB", (96, 64)).save(bad, exif=exif)
    content = bad.read_bytes()
    bad.write_bytes(content.replace(b"\x01\x1a\0\5", b"\x01\x45\0\5"))  # a fraction where a whole number should be
    assert bad.read_bytes() != content

    assert list(read_pictures(find_pictures(tmp_path), BOX, 100).skipped) == [bad]


def test_a_picture_too_large_to_be_one_is_left_out_and_named(tmp_path: Path) -> None:
    folder_of(tmp_path)
    header = struct.pack(">II5B", 100_000, 100_000, 8, 2, 0, 0, 0)  # of a PNG
    content = (tmp_path / "03.png").read_bytes()
    chunk = b"IHDR" + header
    (tmp_path / "03.png").write_bytes(
        content[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[12 + 4 + 13 + 4 :]
    )
    found = read_pictures(find_pictures(tmp_path), BOX, 100)
    assert list(found.skipped) == [tmp_path / "03.png"]


def test_too_few_that_can_be_read_are_an_error_that_names_the_others(tmp_path: Path) -> None:
    folder_of(tmp_path, FEWEST)
    (tmp_path / "05.png").write_bytes(b"no image")
    message = f"at least {FEWEST} images are needed, {FEWEST - 1} of {FEWEST} can be read; {tmp_path / '05.png'}: "
    with pytest.raises(CalibrationError, match=f"^{re.escape(message)}.*cannot identify"):
        read_pictures(find_pictures(tmp_path), BOX, 100)


@pytest.mark.parametrize("count", [0, 1, FEWEST - 1])
def test_too_few_files_are_an_error(count: int, tmp_path: Path) -> None:
    files = sorted(folder_of(tmp_path, count).iterdir())
    with pytest.raises(CalibrationError, match=f"{count} of {count} can be read$"):
        read_pictures(files, BOX, 100)


def test_a_folder_without_pictures_is_an_error_and_folders_inside_do_not_count(tmp_path: Path) -> None:
    folder_of(tmp_path / "inside")
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(CalibrationError, match=f"^there are no JPEGs or PNGs in {re.escape(str(tmp_path))}$"):
        find_pictures(tmp_path)


class TestSpread:
    @pytest.mark.parametrize("most", [1, 2, 3, 7, 8, 9, 10])
    def test_it_is_even(self, most: int, tmp_path: Path) -> None:
        found = read_pictures(find_pictures(folder_of(tmp_path)), BOX, 100).spread(most)
        places = [int(file.stem) for file in found.files]
        assert len(places) == most
        assert places[0] == 0
        steps = np.diff([*places, 10])  # the rest behind the last as well
        assert set(steps) <= {10 // most, -(-10 // most)}

    def test_of_fewer_than_asked_for_all_are_taken(self, tmp_path: Path) -> None:
        found = read_pictures(find_pictures(folder_of(tmp_path)), BOX, 100)
        assert found.spread(10) == found.spread(11) == found

    def test_files_and_hashes_go_together_and_what_was_left_out_stays_known(self, tmp_path: Path) -> None:
        folder_of(tmp_path)
        (tmp_path / "01.png").write_bytes(b"no image")
        whole = read_pictures(find_pictures(tmp_path), BOX, 100)
        few = whole.spread(3)
        known = dict(zip(whole.files, whole.hashes, strict=True))
        assert few.hashes == tuple(known[file] for file in few.files)
        assert few.skipped == whole.skipped
        assert few == whole.spread(3)

    def test_the_pictures_that_are_read_are_spread_too_in_whatever_order_they_come(self, tmp_path: Path) -> None:
        files = find_pictures(folder_of(tmp_path, 17))
        found = read_pictures(files, BOX, 8)
        assert found == read_pictures(files[::-1], BOX, 8)
        assert [int(file.stem) for file in found.files] == [0, 2, 4, 6, 8, 10, 12, 14]


def test_what_else_could_not_be_read_is_added(tmp_path: Path) -> None:
    found = coloured(tmp_path, (32, 48))
    more = found.skipping({Path("one"): "why"}).skipping({Path("two"): "too"})
    assert more.skipped == {Path("one"): "why", Path("two"): "too"}
    assert (more.files, found.skipped) == (found.files, {})


def naming(*names: str) -> Annotations:
    return Annotations(dict(enumerate(names, 100)), {1: "open"}, [])


class TestAnnotated:
    def test_images_are_found_by_name_with_their_ids_in_folders_inside_too(self, tmp_path: Path) -> None:
        folder_of(tmp_path, 9)
        folder_of(tmp_path / "more", 2)
        names = [f"{i:02}.png" for i in range(8)]
        found = annotated(naming(*names, "absent.png", "more/01.png"), tmp_path)
        assert found == {tmp_path / name: 100 + i for i, name in enumerate(names)} | {tmp_path / "more/01.png": 109}

    def test_annotations_of_other_images_are_refused(self, tmp_path: Path) -> None:
        folder_of(tmp_path, 9)
        names = [f"{i:02}.png" for i in range(FEWEST - 1)]
        message = (
            f"the annotations belong to other images: {FEWEST - 1} of their {FEWEST + 1} are in {tmp_path}; "
            "the first that they name is one.png"
        )
        with pytest.raises(AnnotationError, match=f"^{re.escape(message)}$"):
            annotated(naming("one.png", *names, "two.png"), tmp_path)

    def test_annotations_without_images_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(AnnotationError, match=r"the first that they name is nothing$"):
            annotated(naming(), folder_of(tmp_path))
