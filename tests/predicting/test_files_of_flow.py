"""Files of flow, looked at, converted and compared, as a user does it."""

import sys

import numpy as np
import pytest

from rwtl.apps import flow as app
from rwtl.errors import InputError
from rwtl.predicting.flow_files import read, write

KINDS = ("flo", "pfm", "png", "npz")


def some_flow():
    rng = np.random.default_rng(0)
    flow = (rng.integers(-640, 640, (2, 20, 30)) / 64).astype(np.float32)  # which KITTI's format holds exactly
    known = rng.random((20, 30)) > 0.3
    return np.where(known, flow, np.float32(0)), known


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("to", KINDS)
def test_every_format_is_converted_into_every_other(tmp_path, kind, to):
    flow, known = some_flow()
    write(tmp_path / f"a.{kind}", flow, known)
    write(tmp_path / f"b.{to}", *read(tmp_path / f"a.{kind}"))
    for there, here in zip(read(tmp_path / f"b.{to}"), (flow, known), strict=True):
        np.testing.assert_array_equal(there, here)


def called(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["rwtl flow", *map(str, words)])
    try:
        app.main()
        code = 0
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


def test_what_the_command_says(tmp_path, monkeypatch, capsys):
    flow, known = some_flow()
    write(tmp_path / "true.flo", flow, known)
    write(tmp_path / "near.pfm", flow + np.float32(2), known)
    code, said, _ = called(monkeypatch, capsys, "show", tmp_path / "true.flo")
    assert code == 0 and "30×20 px, flow known at " in said and (tmp_path / "true_colour.png").exists()
    code, said, _ = called(monkeypatch, capsys, "compare", tmp_path / "near.pfm", tmp_path / "true.flo")
    assert code == 0 and "2.83" in said and (tmp_path / "near_errors.png").exists()
    code, said, _ = called(monkeypatch, capsys, "convert", tmp_path / "near.pfm", tmp_path / "near.npz")
    assert code == 0 and read(tmp_path / "near.npz")[1].sum() == known.sum()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "none.flo"], r"none\.flo"),
        (["show", "a.txt"], r"a\.txt: a flow file ends in \.flo, \.pfm or \.png"),
        (["convert", "a.flo", "a.gif"], r"a\.gif: a flow file ends in \.flo, \.pfm, \.png, \.npz; give it such a name"),
        (["convert", "a.flo", "none/a.pfm"], "cannot write .*No such file"),
        (["compare", "a.flo", "b.flo"], r"a\.flo is 30×20 px and b\.flo is 10×20 px; only flow of one size"),
        (["compare", "a.flo", "unknown.flo"], r"no pixel is known in both a\.flo and unknown\.flo"),
        (["show", "bad.npz"], r"bad\.npz cannot be read"),
        (["show", "other.npz"], r"other\.npz: flow is \(3, 4\); it must be"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    flow, known = some_flow()
    write(tmp_path / "a.flo", flow, known)
    write(tmp_path / "b.flo", flow[:, :, :10], known[:, :10])
    write(tmp_path / "unknown.flo", flow, np.zeros_like(known))
    (tmp_path / "bad.npz").write_text("x")
    np.savez(tmp_path / "other.npz", flow=np.zeros((3, 4)))
    code, _, errors = called(monkeypatch, capsys, *words)
    assert code == 1 and len(errors.splitlines()) == 1
    with pytest.raises(InputError, match=said):
        raise InputError(errors)
