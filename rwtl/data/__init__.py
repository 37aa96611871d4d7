"""Data sets: clips of waves, and pairs of frames with optical flow."""
