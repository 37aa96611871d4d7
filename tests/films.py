"""Films of procedural scenes, and what is needed to estimate their flow."""

import cv2
import numpy as np
import torch

from rwtl.clips.scenes import SceneClips
from rwtl.flow.scenes.dataset import ProceduralFlow
from rwtl.models.checkpoints import save_model
from rwtl.models.raft import build_raft

SIZE = (48, 64)  # px


def frames_of(count):
    """The frames of a scene, (count, h, w, 3), 0..255."""
    clip = SceneClips(ProceduralFlow(size=1, height=SIZE[0], width=SIZE[1], mean_displacement=2), count)[0]
    return (255 * clip.numpy()).round().astype(np.uint8).transpose(0, 2, 3, 1)


def write_images(folder, count, pattern="frame_{}.png"):
    """Write frames as images, and return their paths."""
    folder.mkdir(exist_ok=True)
    paths = [folder / pattern.format(number) for number in range(count)]
    for path, frame in zip(paths, frames_of(count), strict=True):
        cv2.imwrite(str(path), frame[..., ::-1])
    return paths


def write_film(path, count, code="mp4v"):
    """Write frames as a film."""
    film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 10.0, SIZE[::-1])
    for frame in frames_of(count):
        film.write(frame[..., ::-1])
    film.release()
    return path


def write_checkpoint(path, variant="small"):
    """Write a RAFT of random weights."""
    torch.manual_seed(0)
    arguments = {"variant": variant, "feature_norm": "instance", "iterations": 2}
    save_model(path, "raft", arguments, build_raft(**arguments))
    return path
