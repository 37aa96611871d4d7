"""Make a film of a procedural scene, to try `predict` with: python docs/examples/film.py scene.mp4"""

import sys

import cv2

from rwtl.clips.scenes import SceneClips
from rwtl.flow.scenes.dataset import ProceduralFlow

FRAMES, RATE = 60, 20.0  # per second


def main(file: str) -> None:
    scene = ProceduralFlow(
        size=1, height=192, width=256, seed=7, mean_displacement=2, shapes=4, background_motion=0.5, deformation=0.2
    )
    film = cv2.VideoWriter(file, cv2.VideoWriter_fourcc(*"mp4v"), RATE, (scene.width, scene.height))
    for frame in SceneClips(scene, FRAMES)[0]:
        film.write((255 * frame).byte().permute(1, 2, 0).flip(2).contiguous().numpy())  # blue, green, red
    film.release()


if __name__ == "__main__":
    main(sys.argv[1])
