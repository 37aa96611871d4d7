"""Statistics of a recording, on recordings of which they are known."""

import dataclasses

import numpy as np
import pytest

from rwtl.errors import InputError
from rwtl.waves import open_recording
from rwtl.waves.measure.onsets import calcium_quantiles, find_activity
from rwtl.waves.measure.statistics import wave_statistics
from rwtl.waves.measure.verdict import verdict
from rwtl.waves.page.page import print_summary, summary_rows

INTERVAL = 0.2
SPACING = 50.0  # of the fixture `recording_of`
ROWS, COLUMNS = np.indices((24, 30))
RESTING, ACTIVE = 100.0, 600.0


def calcium_of(arrivals, duration):
    """Calcium over time of cells that pass 200 nM upwards at the times in `arrivals`, (burst, row, column), in s.

    A burst rises from 100 nM at 400 nM/s, stays at 600 nM until 2.6 s after its onset, falls within 0.5 s to 60 nM and
    recovers over 30 s.
    """
    time = INTERVAL * np.arange(1, round(duration / INTERVAL) + 1)[:, None, None]
    calcium = np.full((len(time), *arrivals.shape[1:]), RESTING)
    for arrival in arrivals:
        since = time - arrival
        course = np.interp(since, [-0.25, 1.0, 2.6, 3.1, 33], [RESTING, ACTIVE, ACTIVE, 60.0, RESTING])
        calcium = np.where((since > -0.25) & (since < 33), course, calcium)
    return calcium.astype(np.float32)


def plane(speed, degrees, start=1.0):
    """Arrival times of a straight front, sites/s, that reaches the first of the cells at `start`."""
    along = COLUMNS * np.cos(np.radians(degrees)) + ROWS * np.sin(np.radians(degrees))
    return start + (along - along.min()) / speed


def ring(speed, row, column, start=1.0):
    return start + np.hypot(ROWS - row, COLUMNS - column) / speed


@pytest.fixture
def measured(recording_of):
    """Statistics of a recording of cells that become active at given times, (burst, row, column) or (row, column)."""

    def measure(arrivals, duration=None, **arguments):
        arrivals = np.asarray(arrivals).reshape(-1, *ROWS.shape)
        duration = np.max(arrivals, initial=0, where=np.isfinite(arrivals)) + 5 if duration is None else duration
        return wave_statistics(open_recording(recording_of(calcium_of(arrivals, duration), INTERVAL)), **arguments)

    return measure


@pytest.mark.parametrize("degrees", [0, 90, 180, -45, 30])
@pytest.mark.parametrize("speed", [0.85, 2.34, 8.0])
def test_a_straight_front_has_its_speed_and_direction(measured, speed, degrees):
    waves = measured(plane(speed, degrees)).waves
    assert len(waves) == 1
    wave = waves.loc[0]
    assert wave.sites_per_s == pytest.approx(speed, rel=0.02)
    assert wave.speed == pytest.approx(speed * SPACING, rel=0.02)
    assert abs((wave.direction - degrees + 180) % 360 - 180) < 2
    assert wave.directedness > 0.99
    assert (wave.cells, wave.fraction) == (720, 1.0)
    assert wave.onset == pytest.approx(1.0, abs=0.02)
    assert wave.onset + wave.duration == pytest.approx(plane(speed, degrees).max(), abs=0.02)


def test_every_onset_of_a_front_has_its_local_velocity(measured):
    onsets = measured(plane(2.0, 30)).onsets
    assert len(onsets) == 720
    np.testing.assert_allclose(onsets.velocity_x, 2 * np.cos(np.radians(30)), rtol=0.05)
    np.testing.assert_allclose(onsets.velocity_y, 2 * np.sin(np.radians(30)), rtol=0.05)


def test_a_ring_has_a_speed_and_an_origin_and_no_direction(measured):
    wave = measured(ring(2.34, 11, 14)).waves.loc[0]
    assert wave.sites_per_s == pytest.approx(2.34, rel=0.02)
    assert wave.directedness < 0.15
    assert (wave.origin_row, wave.origin_column) == pytest.approx((11, 14), abs=0.1)


def test_a_recording_has_a_prevailing_direction(measured):
    statistics = measured([plane(2.34, 30), plane(2.34, 90, start=41)])
    assert statistics.direction == pytest.approx((60, np.cos(np.radians(30))), rel=0.02)


def test_a_ring_off_centre_is_directed_towards_the_larger_side(measured):
    wave = measured(ring(2.34, 11, 3)).waves.loc[0]
    assert abs(wave.direction) < 10
    assert 0.2 < wave.directedness < 0.9


def test_speed_does_not_depend_on_a_little_noise(measured):
    jitter = np.random.default_rng(1).normal(0, 0.1, ROWS.shape)
    statistics = measured(plane(2.34, 0) + jitter)
    assert len(statistics.waves) == 1
    assert statistics.waves.sites_per_s[0] == pytest.approx(2.34, rel=0.03)


def test_cells_that_fire_independently_have_no_front(measured):
    statistics = measured(1 + np.random.default_rng(1).random(ROWS.shape))
    assert len(statistics.onsets) == 720
    assert len(statistics.speeds) < 0.02 * 720


def test_cells_that_fire_simultaneously_have_no_front(measured):
    statistics = measured(1 + 1e-5 * COLUMNS)
    assert len(statistics.onsets) == 720 and len(statistics.waves) == 1
    assert len(statistics.speeds) == 0


def test_two_waves_at_once_are_two_waves_and_two_events(measured):
    ends = np.minimum(
        np.where(COLUMNS < 10, ring(2.0, 12, 4), np.inf), np.where(COLUMNS > 20, ring(3.0, 12, 26), np.inf)
    )
    statistics = measured(ends)
    assert statistics.onsets.event.nunique() == 2
    assert sorted(statistics.waves.cells) == [24 * 9, 24 * 10]
    speeds = statistics.waves.set_index("origin_column").sites_per_s.sort_index()
    assert speeds.to_list() == pytest.approx([2.0, 3.0], rel=0.03)


def test_waves_that_collide_are_two_waves_of_one_event(measured):
    statistics = measured(np.minimum(ring(2.0, 12, 4), ring(2.0, 12, 25, start=2.0)))
    assert statistics.onsets.event.nunique() == 1
    waves = statistics.waves
    assert waves.onset.to_list() == pytest.approx([1.0, 2.0], abs=0.02)
    assert waves.origin_column.to_list() == pytest.approx([4, 25], abs=0.1)
    assert waves.cells[0] > waves.cells[1]
    assert waves.cells.sum() == 720
    assert waves.event.to_list() == [0, 0]


def test_every_onset_belongs_to_the_wave_that_came_first(measured):
    arrivals = np.stack([ring(2.0, 5, 4), ring(2.0, 18, 9, start=3.0), ring(2.0, 9, 25, start=2.0)])
    onsets = measured(arrivals.min(axis=0)).onsets
    order = [0, 2, 1]  # of the starts
    expected = np.array(order)[arrivals.argmin(axis=0)]
    assert np.mean(onsets.wave == expected[onsets.row, onsets.column]) > 0.98


def test_the_velocity_where_fronts_meet_is_that_of_each(measured):
    onsets = measured(np.minimum(plane(2.0, 0), plane(2.0, 180))).onsets
    np.testing.assert_allclose(onsets.velocity_x, np.where(onsets.column < 15, 2.0, -2.0), rtol=0.02)


@pytest.mark.parametrize(("early", "cells"), [(1.2, [720]), (2.2, [719, 1])])
def test_a_cell_that_fires_just_before_the_front_is_no_wave(measured, early, cells):
    arrivals = plane(2.0, 0)
    arrivals[12, 15] -= early
    assert measured(arrivals).waves.cells.to_list() == cells


def test_successive_waves_give_the_interval_and_the_rate(measured):
    statistics = measured([plane(3, 0, start=1), plane(3, 0, start=41), plane(3, 0, start=91)], duration=120)
    assert len(statistics.waves) == 3
    assert statistics.quartiles_of(statistics.intervals) == pytest.approx((40, 45, 50), abs=0.02)
    assert statistics.onset_rate == pytest.approx(1.5)


def test_displacement_is_speed_times_interval(measured):
    table = measured(plane(2.34, 0)).displacements([0.1, 1.0, 4.0]).set_index("dt")
    assert table["median"].to_list() == pytest.approx([0.234, 2.34, 9.36], rel=0.02)
    assert (table.lower_quartile <= table["median"]).all() and (table["median"] <= table.upper_quartile).all()


def test_a_front_may_cross_a_periodic_border(measured):
    # It starts at column 20, runs to the right, and on from the left border.
    arrivals = 1 + ((COLUMNS - 20) % 30) / 2.0
    torn = measured(arrivals, periodic=False)
    assert torn.onsets.event.nunique() == 2
    closed = measured_again(torn, periodic=True)
    assert closed.onsets.event.nunique() == 1 and len(closed.waves) == 1
    assert closed.waves.direction[0] == pytest.approx(0, abs=2)
    assert closed.waves.sites_per_s[0] == pytest.approx(2.0, rel=0.02)


def test_the_origin_may_lie_on_a_periodic_border(measured):
    row, column = (ROWS + 12) % 24 - 12, (COLUMNS + 15) % 30 - 15
    wave = measured(1 + np.hypot(row, column) / 2.0, periodic=True).waves.loc[0]
    assert (wave.origin_row, wave.origin_column) == pytest.approx((0, 0), abs=0.1)


def measured_again(statistics, **arguments):
    return wave_statistics(statistics.recording, **arguments)


def test_a_burst_that_wavers_about_the_threshold_is_one_onset(recording_of):
    course = np.array([100, 150, 250, 180, 220, 160, 260, 500, 190, 210, 140, 100, 240, 90], np.float32)
    recording = open_recording(recording_of(course[:, None, None], INTERVAL))
    onsets = find_activity(recording, 200.0, 150.0)
    assert onsets.time.tolist() == pytest.approx([2.5 * INTERVAL, (12 + 100 / 140) * INTERVAL])
    assert len(find_activity(recording, 200.0, 200.0).time) == 5


def test_a_burst_that_was_on_at_the_start_has_no_onset(recording_of):
    course = np.array([300, 190, 210, 100, 300], np.float32)
    onsets = find_activity(open_recording(recording_of(course[:, None, None], INTERVAL)), 200.0, 150.0)
    assert onsets.time.tolist() == pytest.approx([4.5 * INTERVAL])


def test_activity_over_chunks_equals_that_of_the_whole(recording_of):
    frames = np.random.default_rng(1).uniform(60, 640, (150, 6, 8)).astype(np.float32)
    activity = find_activity(open_recording(recording_of(frames, INTERVAL)), 200.0, 200.0)
    np.testing.assert_array_equal(activity.active_fraction, (frames > 200).mean((1, 2)))
    assert len(activity.time) == ((frames[1:] > 200) & (frames[:-1] <= 200)).sum()
    assert (activity.calcium_min, activity.calcium_max) == (frames.min(), frames.max())
    assert calcium_quantiles(activity, [0.1, 0.5, 0.99]) == pytest.approx(np.quantile(frames, [0.1, 0.5, 0.99]), abs=1)


def test_an_incomplete_recording_counts_by_its_valid_frames(measured):
    whole = measured(plane(2.0, 0)).recording
    part = wave_statistics(dataclasses.replace(whole, valid_frames=31, complete=False))
    assert part.duration == pytest.approx(6.2)
    assert part.waves.cells[0] == 24 * 11  # by 6.2 s the front has come to column 10
    with pytest.raises(InputError, match="has no valid frame"):
        wave_statistics(dataclasses.replace(whole, valid_frames=0, complete=False))


def test_thresholds_that_exclude_each_other_are_refused(measured):
    with pytest.raises(InputError, match=r"rearm_below is 250\.0 nM: it must not exceed active_above, 200\.0 nM"):
        measured(plane(2.0, 0), rearm_below=250.0)


# A wave every 40 s, one of them before the recording, whose wake its first frame shows.
WAVES = [plane(2.34, 30 * k, start=40 * k - 15) for k in range(4)]
TOGETHER = np.random.default_rng(1).uniform(0, 1, ROWS.shape)


def test_a_good_recording_has_no_warning(measured):
    assert verdict(measured(WAVES, duration=130)) == []


def test_silence_is_told(measured):
    (warning,) = verdict(measured(np.where(ROWS + COLUMNS < 2, 5.0, np.inf), duration=60))
    assert warning.startswith("Silent: 3 of 720 cells became active in 60 s")
    assert "recording.cell.sigma, now 2.5" in warning


def test_synchrony_is_told(measured):
    (warning,) = verdict(measured([TOGETHER + start for start in (5, 45, 85)], duration=120))
    assert warning.startswith("Synchronous: 3 times half of the cells became active within 2 s")
    assert "100% of all onsets" in warning
    assert "Reduce recording.cell.sigma, now 2.5" in warning


def test_a_synchronous_start_is_told_as_the_transient(measured):
    (warning,) = verdict(measured([WAVES[0], TOGETHER + 12, *WAVES[2:]], duration=130))
    assert warning.startswith("In its transient: at 12.0 s")
    assert "Leave out 20 s or more: recording.transient, now 0 s" in warning


def test_a_start_before_the_first_wave_is_told_as_the_transient(measured):
    (warning,) = verdict(measured([plane(2.34, 0, start=20), plane(2.34, 90, start=55)], duration=80))
    assert warning.startswith("In its transient: no wave had crossed the lattice before the recording starts")
    assert "40 s or more" in warning


def test_a_change_of_the_rate_is_told_as_the_transient(measured):
    busy = [plane(6, 0, start) for start in np.arange(-8, 32, 8)]
    (warning,) = verdict(measured([*busy, plane(6, 0, 60)], duration=120))
    assert warning.startswith("In its transient: the first third of the recording has 3.9 onsets per cell")


def test_depolarisation_is_told(measured, recording_of):
    rng = np.random.default_rng(1)
    frames = np.where(rng.random((120, 24, 30)) < 0.7, 500, 90).astype(np.float32)
    (warning,) = verdict(wave_statistics(open_recording(recording_of(frames, INTERVAL))))
    assert warning.startswith("Depolarised: over the second half of the recording 70% of the cells are active")
    assert "recording.cell.g_A, now 0.1 nS" in warning


def test_the_table_holds_the_figures(measured, capsys):
    statistics = measured([plane(2.0, 0), plane(2.34, 90, start=41), plane(3.0, 0, start=81)])
    rows = {(row.quantity, row.unit): row for row in summary_rows(statistics)}
    speed = rows["front speed", "µm/s"]
    assert speed.measured.startswith("117 (") and (speed.expected, speed.experiments) == ("about 120", "100–300")
    at_1_s = statistics.displacements([1.0]).loc[0]
    between = f"({at_1_s.lower_quartile:.2f}–{at_1_s.upper_quartile:.2f})"
    assert rows["displacement at dt 1 s", "px"].measured == f"{at_1_s['median']:.2f} {between}"
    assert rows["waves over 1 % of the lattice", ""].measured == "3, 1.9 per minute"
    print_summary(statistics)
    printed = capsys.readouterr().out
    assert all(row.measured in printed for row in rows.values())


def test_the_table_of_a_silent_recording_says_none(measured, capsys):
    statistics = measured(np.full(ROWS.shape, np.inf), duration=20)
    assert summary_rows(statistics)[0].measured == "none"
    print_summary(statistics)
    assert "warning: Silent: 0 of 720 cells" in capsys.readouterr().out
