"""Optical flow: data sets of pairs of frames, their files, and what is done to them."""
