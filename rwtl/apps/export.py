"""Write a RAFT checkpoint of any kind as ONNX, or as a program of torch.export, for programs without rwtl."""

from omegaconf import DictConfig

from rwtl.sweeps.app import program


@program("export")
def main(cfg: DictConfig) -> None:
    from rwtl.predicting.app import export

    export(cfg)
