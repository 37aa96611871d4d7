"""Procedural scenes: pairs of frames with exact optical flow, made on the fly."""
