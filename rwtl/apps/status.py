"""Say what is in the outputs, what an experiment would reuse and make, and remove what failed, when asked.

# What is there, of one stage and in one state.
rwtl status stage=training state=failed
# Remove what failed.
rwtl status remove=failed
# What a line would reuse and make: the whole line of an experiment, with its name in front. It makes nothing.
rwtl status train -m transfer=scratch,freeze_encoder seed=1,2
"""

import sys
from importlib import import_module

from omegaconf import DictConfig

from rwtl.apps import apps
from rwtl.sweeps.app import program


def main() -> None:
    """Show the preview of the line that sys.argv gives, or where it gives none the outputs."""
    app = sys.argv[1] if len(sys.argv) > 1 else ""
    if not app.isidentifier():  # an override or a flag
        return show_outputs()
    from rwtl.sweeps.preview import preview

    program = import_module(f"rwtl.apps.{app}").main if app in apps() else None
    if not getattr(program, "makes", False):
        print(
            f"error: status of {app!r}: no such app makes artifacts; give the line of simulate, pretrain, train, "
            "evaluate, compare or submit",
            file=sys.stderr,
        )
        sys.exit(1)
    del sys.argv[1]
    program(preview)


@program("status")
def show_outputs(cfg: DictConfig) -> None:
    from rwtl.config import outputs_folder
    from rwtl.errors import InputError
    from rwtl.sweeps.status import entries_of, print_entries, print_sweeps, remove, states_of

    outputs = outputs_folder(cfg)
    if cfg.remove is not None:
        states = states_of(cfg.remove)
        if cfg.state is not None and cfg.state not in states:
            raise InputError(f"state is {cfg.state}, and remove {', '.join(states)}: nothing is both; leave state out")
        remove(entries_of(outputs, cfg.stage, cfg.state), states)
    print_entries(entries_of(outputs, cfg.stage, cfg.state))
    print_sweeps(outputs)
