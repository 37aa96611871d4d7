"""An encoder of one's own: small RAFT with wider stages."""

from dataclasses import replace

import rwtl
from rwtl.models.parts import Parts, small


@rwtl.register_variant("wide")
def wide() -> Parts:
    return replace(small(), widths=(48, 96, 128))
