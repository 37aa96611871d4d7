import numpy as np
import pytest
from PIL import Image

from rwtl.errors import InputError
from rwtl.flow.files import image_size, read_flo, read_image, write_flo, write_kitti_flow


def _flow(height: int = 3, width: int = 5) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 9, (2, height, width)).astype(np.float32)


def test_flo_round_trip_keeps_every_bit(tmp_path):
    flow = _flow()
    write_flo(tmp_path / "a.flo", flow)
    np.testing.assert_array_equal(read_flo(tmp_path / "a.flo"), flow)


def test_flo_layout_is_the_middlebury_one(tmp_path):
    # Two columns, one row, written by hand: magic 202021.25, width, height, then u v of each pixel.
    content = np.array([202021.25], "<f4").tobytes() + np.array([2, 1], "<i4").tobytes()
    content += np.array([1.5, -2.0, 3.0, 4.0], "<f4").tobytes()
    (tmp_path / "a.flo").write_bytes(content)
    flow = read_flo(tmp_path / "a.flo")
    np.testing.assert_array_equal(flow[0], [[1.5, 3.0]])
    np.testing.assert_array_equal(flow[1], [[-2.0, 4.0]])
    write_flo(tmp_path / "b.flo", flow)
    assert (tmp_path / "b.flo").read_bytes() == content


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda b: b[:-1], ["131 bytes found", "132 expected", "5x3"]),
        (lambda b: b + b"\0\0", ["134 bytes found", "132 expected"]),
        (lambda b: b[:9], ["9 bytes found", "12 expected"]),
        (lambda b: b"PIEX" + b[4:], ["PIEX", "PIEH"]),
        (lambda b: b"", ["begins with b''"]),
        (lambda b: b[:4] + np.array([-5, 3], "<i4").tobytes() + b[12:], ["-5x3", "99999"]),
        (lambda b: b[:4] + np.array([5, 100_000], "<i4").tobytes() + b[12:], ["5x100000", "99999"]),
        (lambda b: b[:16] + np.array([np.nan], "<f4").tobytes() + b[20:], ["1 flow values", "nan", "channel 1"]),
        (lambda b: b[:-4] + np.array([np.inf], "<f4").tobytes(), ["inf", "channel 1, row 2, column 4"]),
    ],
)
def test_damaged_flo_is_refused_with_file_and_value(tmp_path, change, words):
    path = tmp_path / "damaged.flo"
    write_flo(path, _flow())
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError) as caught:
        read_flo(path)
    for word in ["damaged.flo", *words]:
        assert word in str(caught.value)


def test_unknown_flow_marks_are_kept(tmp_path):
    flow = _flow()
    flow[:, 1, 2] = 1.666e9
    write_flo(tmp_path / "a.flo", flow)
    np.testing.assert_array_equal(read_flo(tmp_path / "a.flo"), flow)


def test_flow_that_is_not_finite_is_not_written(tmp_path):
    flow = _flow()
    flow[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        write_flo(tmp_path / "a.flo", flow)
    assert not (tmp_path / "a.flo").exists()


@pytest.mark.parametrize("name", ["a.ppm", "a.png", "a.bmp", "a.tiff", "a.webp"])
def test_image_values_and_axes(tmp_path, name):
    pixels = np.random.default_rng(1).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / name, **({"lossless": True} if name == "a.webp" else {}))
    assert image_size(tmp_path / name) == (4, 6)
    image = read_image(tmp_path / name)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tiff", "a.webp"])
def test_an_image_is_turned_as_its_exif_orientation_says(tmp_path, name):
    lossless = {} if name == "a.jpg" else {"lossless": True}
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, 8:] = 200
    Image.fromarray(pixels).save(tmp_path / name, exif=exif, **lossless)
    image = read_image(tmp_path / name)
    assert image.shape == (3, 16, 8)
    np.testing.assert_allclose(image, np.rot90(pixels, -1).transpose(2, 0, 1), atol=3)
    assert image_size(tmp_path / name) == (16, 8)


def test_jpeg_and_grey_images_become_rgb(tmp_path):
    Image.new("RGB", (6, 4), (200, 100, 50)).save(tmp_path / "a.jpg")
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg")[:, 0, 0], [200, 100, 50], atol=3)
    Image.new("L", (6, 4), 77).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.full((3, 4, 6), 77, np.float32))


@pytest.mark.parametrize("name", ["a.ppm", "a.png", "a.jpg"])
def test_truncated_image_is_refused(tmp_path, name):
    path = tmp_path / name
    noise = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(InputError, match=rf"{name}: {path.stat().st_size} bytes"):
        read_image(path)


def test_images_that_would_lose_something_are_refused(tmp_path):
    Image.fromarray(np.full((4, 6), 40_000, np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGBA", (6, 4)).save(tmp_path / "alpha.png")
    Image.new("RGB", (6, 4)).save(tmp_path / "a.gif")
    write_kitti_flow(tmp_path / "flow.png", np.zeros((2, 4, 6), np.float32), np.ones((4, 6), np.float32))
    (tmp_path / "deep.ppm").write_bytes(b"P6\n6 4\n1023\n" + bytes(6 * 4 * 3 * 2))
    (tmp_path / "grey.pgm").write_bytes(b"P5\n6 4\n65535\n" + bytes(6 * 4 * 2))
    several = [Image.new("RGB", (6, 4), (shade, 0, 0)) for shade in (10, 90)]
    several[0].save(tmp_path / "several.tiff", save_all=True, append_images=several[1:])
    for name, words in [
        ("deep.png", "more than 8 bits a channel"),
        ("flow.png", "more than 8 bits a channel.*flow file of KITTI's"),
        ("deep.ppm", "more than 8 bits a channel"),
        ("grey.pgm", "more than 8 bits a channel"),
        ("several.tiff", "holds 2 pictures"),
        ("alpha.png", "RGBA"),
        ("a.gif", "PPM, PNG, JPEG, BMP, WebP or TIFF"),
        ("no.png", "no such"),
    ]:
        with pytest.raises(InputError, match=words) as caught:
            read_image(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(InputError, match="No such file"):
        read_flo(tmp_path / "no.flo")
