from rwtl import progress


def test_lines_say_what_is_done_and_the_time_left(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    report = progress.Progress("train", total=100, unit="steps")
    # Ten seconds of preparation, then ten steps a second.
    for now[0], done in ((10.0, 0), (12.0, 20), (16.0, 60), (16.1, 61), (20.0, 100)):
        report(done, note="loss 1")
    assert capsys.readouterr().err.splitlines() == [
        "  train: 60/100 steps · 0:04 left · loss 1",
        "  train: 100/100 steps · took 0:20 · loss 1",
    ]
