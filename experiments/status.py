"""Say what is in the outputs, what an experiment would reuse and make, and remove what failed, when asked.

    python experiments/status.py [stage=training] [state=failed] [remove=failed]
    python experiments/status.py train -m transfer=scratch,freeze_encoder seed=1,2

The second form takes the whole line of another experiment, with its name in front, and makes nothing.
"""

import runpy
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from rwtl.sweeps.app import experiment


def stage_of(app: str):
    """What the experiment of this name makes: a function of its configuration; None where there is none such."""
    file = Path(__file__).with_name(f"{app}.py")
    return getattr(runpy.run_path(str(file))["main"], "stage", None) if app.isidentifier() and file.exists() else None


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
    stage = stage_of(sys.argv[1]) if len(sys.argv) > 1 else None
    if stage is not None:
        from rwtl.sweeps.preview import show_preview

        sys.exit(show_preview(sys.argv[1], stage, sys.argv[2:]))
    main()
