"""What is measured of a recording: onsets, waves, fronts, and a verdict on the regime."""
