"""Say what is in the outputs, what an experiment would reuse and make, and remove what failed, when asked.

    python experiments/status.py [stage=training] [state=failed] [remove=failed]
    python experiments/status.py train -m transfer=scratch,freeze_encoder seed=1,2

The second form takes the whole line of another experiment, with its name in front, and makes nothing.
"""

import sys
from importlib import import_module

import hydra
from omegaconf import DictConfig

from rwtl.sweeps.app import experiment

STAGES = {  # of the experiments, by module and function: each is imported only where it is asked for
    "simulate": ("rwtl.pipeline.recording", "recording"),
    "pretrain": ("rwtl.pipeline.pretraining", "pretraining"),
    "train": ("rwtl.pipeline.flow_training", "training"),
    "evaluate": ("rwtl.pipeline.evaluation", "evaluation"),
    "submit": ("rwtl.pipeline.evaluation", "submission"),
    "compare": ("rwtl.compare.comparison", "comparison"),
}


@hydra.main(version_base="1.3", config_path="../conf", config_name="status")
@experiment()
def main(cfg: DictConfig) -> None:
    from rwtl.config import outputs_folder
    from rwtl.sweeps.status import entries_of, print_entries, print_sweeps, remove, states_of

    outputs = outputs_folder(cfg)
    if cfg.remove is not None:
        remove(entries_of(outputs, cfg.stage, cfg.state), states_of(cfg.remove))
    print_entries(entries_of(outputs, cfg.stage, cfg.state))
    print_sweeps(outputs)


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in STAGES:
        from rwtl.sweeps.preview import show_preview

        module, function = STAGES[sys.argv[1]]
        sys.exit(show_preview(sys.argv[1], getattr(import_module(module), function), sys.argv[2:]))
    main()
