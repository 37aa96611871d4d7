"""Results are on the standard output, and progress and notices on the standard error."""

from tiny import TINY, run


def test_a_file_of_results_holds_nothing_else(tmp_path):
    line = ("train", tmp_path, TINY, "transfer=scratch")
    first, again = run(*line), run(*line)
    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    (folder,) = tmp_path.glob("training/*")
    epe, *places = first.stdout.splitlines()
    assert epe.startswith("validation EPE after 4 steps: ")
    assert places == [f"model: {folder / 'model.pt'}", f"curve: {folder / 'curve.csv'}"]
    assert again.stdout == first.stdout
    assert f": making {folder}" in first.stderr and "train scratch seed 1: 4/4 steps" in first.stderr
    assert f": reused {folder}" in again.stderr
