"""Estimate the flow of your own images, film or recording, by a RAFT checkpoint of any kind.

# A film: files of flow, and pictures in colour.
rwtl predict checkpoint=raft-things.pth images=walk.mp4
# A folder, with what is hidden, and a film of frame and flow side by side.
rwtl predict checkpoint=raft-things.pth images=frames/ predict.both=true 'predict.write=[npz,occluded,film]'
# Frames that are too large, tile by tile.
rwtl predict checkpoint=raft-things.pth images='frames/*.png' 'predict.tile=[512,512]'
"""

from omegaconf import DictConfig

from rwtl.sweeps.app import program


@program("predict")
def main(cfg: DictConfig) -> None:
    from rwtl.predicting.app import run

    run(cfg)
