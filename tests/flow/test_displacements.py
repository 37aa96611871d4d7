import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.stats import wasserstein_distance
from tiny import run

from rwtl.errors import InputError
from rwtl.flow.displacements import (
    DIRECTIONS,
    LENGTHS,
    Displacements,
    direction_histogram,
    displacement_histogram,
    distance,
    gathered,
    histogram_distance,
    histogram_figure,
    histograms,
    summary,
)
from rwtl.flow.files import write_flo
from rwtl.flow.scenes.dataset import ProceduralFlow


def flow_of(lengths, degrees):
    """A field of one row whose pixels move so far and in such directions."""
    angles = torch.deg2rad(torch.as_tensor(degrees, dtype=torch.float64))
    vectors = torch.stack([angles.cos(), angles.sin()]) * torch.as_tensor(lengths, dtype=torch.float64)
    return vectors.float()[:, None], torch.ones(1, vectors.shape[1])


def random_lengths(seed, scale, size):
    return np.abs(np.random.default_rng(seed).standard_normal(size)) ** 2 * scale


def test_histograms_count_valid_pixels_by_length_and_direction():
    flow, valid = flow_of([0.0, 0.3, 1.0, 5.0, 5.0, 300.0], [0, 10, 91, -89, 179, 45])
    valid[0, 4] = 0
    lengths = displacement_histogram(flow, valid, np.array([0.0, 0.5, 2.0, 100.0]))
    assert lengths.tolist() == [2, 1, 1]  # 300 px lies outside
    quadrants = direction_histogram(flow, valid, np.array([-180.0, -90.0, 0.0, 90.0, 180.0]))
    assert quadrants.tolist() == [0, 1, 1, 1]  # down is 90 degrees, and short ones have no direction
    both = displacement_histogram(torch.stack([flow, flow]), torch.stack([valid, valid]), LENGTHS)
    assert both.sum() == 10


@pytest.mark.parametrize("scales", [(1.0, 1.0), (1.0, 3.0), (8.0, 2.0)])
def test_distance_is_wassersteins(scales):
    values = [random_lengths(seed, scale, size) for seed, scale, size in ((0, scales[0], 3000), (1, scales[1], 5000))]
    sets = [gathered([flow_of(lengths, np.zeros(len(lengths)))]) for lengths in values]
    expected = wasserstein_distance(*values)
    assert distance(*sets) == pytest.approx(expected, abs=0.02)
    assert distance(*sets) == pytest.approx(distance(*reversed(sets)))
    assert distance(sets[0], sets[0]) == 0
    edges = np.linspace(0, 200, 401)
    middles = (edges[1:] + edges[:-1]) / 2
    counts = [np.histogram(lengths, edges)[0].astype(float) for lengths in values]
    exact = wasserstein_distance(middles, middles, *counts)
    assert histogram_distance(*counts, edges) == pytest.approx(exact, rel=1e-6)


def test_summary_is_that_of_the_pooled_pixels_however_they_come():
    lengths = random_lengths(2, 4.0, 4000)
    flow, valid = flow_of(lengths, np.linspace(-179, 179, 4000))
    sets = {
        "whole": gathered([(flow, valid)]),
        "pieces": gathered(zip(flow.split(500, dim=2), valid.split(500, dim=1), strict=True)),
    }
    for row in summary(sets).itertuples():
        assert row.mean == pytest.approx(lengths.mean(), rel=1e-5)
        assert row.max == pytest.approx(lengths.max(), rel=1e-5)
        quantiles = np.quantile(lengths, [0.5, 0.9, 0.99])
        assert [row.median, row.p90, row.p99] == pytest.approx(quantiles, abs=0.06)
        assert row.distance == 0
    assert sets["whole"].pairs == 1 and sets["pieces"].pairs == 8
    table = histograms(sets)
    assert table.groupby(["set", "quantity"]).share.sum().to_numpy() == pytest.approx(np.ones(4))
    assert len(table) == 2 * (len(LENGTHS) + len(DIRECTIONS) - 2)
    pd.testing.assert_frame_equal(
        *(table[table.set == name].drop(columns="set").reset_index(drop=True) for name in sets)
    )


def test_fields_without_a_valid_pixel_are_refused():
    flow, valid = flow_of([1.0, 2.0], [0, 0])
    with pytest.raises(InputError, match="1 flow fields without a valid pixel"):
        gathered([(flow, 0 * valid)])


@pytest.mark.slow
def test_experiment_finds_the_parameters_of_a_folder_of_pairs(tmp_path):
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    arguments = {"height": 32, "width": 48, "mean_displacement": 2.0, "tail": 3.0, "background_motion": 0.0}
    for index, sample in enumerate(ProceduralFlow(10, **arguments)):
        for number in (1, 2):
            image = sample[number - 1].byte().permute(1, 2, 0).numpy()
            Image.fromarray(image).save(pairs / f"{index:05}_img{number}.ppm")
        write_flo(pairs / f"{index:05}_flow.flo", sample.flow.numpy())
    scenes = ["scenes=10", *(f"procedural.{key}={value}" for key, value in arguments.items() if key != "tail")]
    tried = ["procedural.tail=1", f"folder={pairs}", "search={tail:[1,3],background_motion:[0,1]}"]
    done = run("displacements", tmp_path, *scenes, *tried)
    assert done.returncode == 0, done.stderr
    *_, last = (line for line in done.stdout.splitlines() if line.startswith("│"))
    assert last.split("│")[-2].strip() == "0.00"  # the very scenes
    table = pd.read_csv(tmp_path / "displacements" / "displacements.csv")
    assert set(table.set) == {"pairs", "procedural"}
    assert (tmp_path / "displacements" / "displacements.png").stat().st_size > 10_000
    alone = run("displacements", tmp_path, *scenes, "search={tail:[1,3]}")
    assert alone.returncode == 1 and "search needs real pairs" in alone.stderr


def test_figure_draws_every_set(tmp_path):
    scenes = ProceduralFlow(4, 32, 48, background_motion=0.0)
    sets = {"scenes": gathered((sample.flow, sample.valid) for sample in scenes), "still": Displacements()}
    sets["still"].add(torch.zeros(2, 8, 8), torch.ones(8, 8))
    figure = histogram_figure(sets)
    figure.savefig(tmp_path / "figure.png")
    lengths, _, directions = figure.axes
    assert [text.get_text().split(",")[0] for text in figure.legends[0].get_texts()] == ["scenes", "still"]
    assert len(directions.lines) == 2
    # All that stands still is in the first bar.
    assert lengths.patches[1].get_data().values[0] == pytest.approx(100)
