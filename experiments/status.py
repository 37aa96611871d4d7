"""Say what is in the outputs, what an experiment would reuse and make, and remove what failed, when asked.

    python experiments/status.py [stage=training] [state=failed] [remove=failed]
    python experiments/status.py train -m transfer=scratch,freeze_encoder seed=1,2

The second form takes the whole line of another experiment, with its name in front, and makes nothing.
"""

import sys

import hydra
from omegaconf import DictConfig

from rwtl.sweeps.app import readable_errors


@hydra.main(version_base="1.3", config_path="../conf", config_name="status")
@readable_errors
def main(cfg: DictConfig) -> None:
    from rwtl.config import outputs_folder
    from rwtl.sweeps.status import entries_of, print_entries, print_sweeps, remove, states_of

    outputs = outputs_folder(cfg)
    if cfg.remove is not None:
        remove(entries_of(outputs, cfg.stage, cfg.state), states_of(cfg.remove))
    print_entries(entries_of(outputs, cfg.stage, cfg.state))
    print_sweeps(outputs)


if __name__ == "__main__":
    from rwtl.pipeline.planning import APPS

    if len(sys.argv) > 1 and sys.argv[1] in APPS:
        from rwtl.sweeps.preview import show_intended

        sys.exit(show_intended(sys.argv[1], sys.argv[2:]))
    main()
