"""Write a RAFT checkpoint of any kind as ONNX, or as a program of torch.export, for programs without rwtl.

# ONNX, which needs pip install 'rwtl[onnx]'.
rwtl export checkpoint=raft-things.pth file=raft.onnx
# Fewer iterations, which are part of the file.
rwtl export checkpoint=raft-things.pth file=raft.onnx iterations=6
# A program of torch.export.
rwtl export checkpoint=raft-things.pth file=raft.pt2
"""

from omegaconf import DictConfig

from rwtl.sweeps.app import program


@program("export")
def main(cfg: DictConfig) -> None:
    from rwtl.predicting.app import export

    export(cfg)
