"""An encoder of one's own: small RAFT with wider stages, pre-trained, transferred and evaluated like any other."""

import sys
from dataclasses import replace
from pathlib import Path

from hydra import compose, initialize_config_dir

from rwtl.models.encoder import VARIANTS
from rwtl.models.parts import PARTS
from rwtl.pipeline.artifact import build
from rwtl.pipeline.evaluation import errors_by_pair, evaluation

PARTS["wide"] = replace(PARTS["small"], widths=(48, 96, 128))
VARIANTS.append("wide")


def main(overrides: list[str]) -> None:
    conf = Path(__file__).parents[2] / "conf"
    with initialize_config_dir(str(conf), version_base="1.3"):
        cfg = compose("evaluate", ["model.variant=wide", "transfer=freeze_encoder", *overrides])
    made = build(evaluation(cfg))
    print(errors_by_pair(made).epe.describe())


if __name__ == "__main__":
    main(sys.argv[1:])
