"""What `experiment=study_full` costs: operations of each stage, counted, and the throughput of this machine, measured.

    python benchmarks/full_study.py --json full_study.json
    python benchmarks/full_study.py --device cuda --batch 10

Floating-point operations of one training step of each stage are counted by PyTorch as they run (matrix products and
convolutions; a multiplication with its addition is two), and multiplied by the steps and runs of the preset. The
throughput is measured on one step of the target task, after one that does not count. `hours here` is one over the
other; of another machine, divide the operations by what it sustains.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from rwtl.comparing.comparison import planned_runs, sources_of
from rwtl.comparing.conditions import comparison_config, conditions_of, run_configs
from rwtl.learning.metrics import sequence_loss
from rwtl.models.next_frame import build_next_frame
from rwtl.models.raft import build_raft

CHAIRS = (384, 512)  # px; RAFT pads nothing of it
VALIDATED = 640  # pairs of FlyingChairs' validation split
EVALUATED = {"flying_chairs_validation": (640, (384, 512)), "sintel_clean": (1041, (440, 1024))}
EVALUATED |= {"sintel_final": (1041, (440, 1024)), "kitti": (200, (376, 1248))}
STAND_INS = ["evaluation.datasets=[procedural_test]", "flow_data=procedural"]  # counts need no data


def raft_step(model: nn.Module, batch: int, size: tuple[int, int], iterations: int) -> None:
    images = torch.rand(2, batch, 3, *size, device=next(model.parameters()).device) * 255
    flows = model(images[0], images[1], iterations)
    flow = torch.zeros_like(flows[0])
    sequence_loss(flows, flow, torch.ones_like(flow[:, 0]), 0.8).backward()


def operations(work) -> float:
    """Return the floating-point operations of what is called."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def stages(cfg, batch: int, device: torch.device) -> dict[str, tuple[float, int]]:
    """Return operations of one unit and how many units there are, by stage."""
    model = {"variant": cfg.model.variant, "feature_norm": cfg.model.feature_norm}
    crop = cfg.flow_data_crop
    raft = build_raft(**model).to(device)
    step = operations(lambda: raft_step(raft, batch, crop, cfg.training.iterations)) * cfg.training.batch_size / batch
    with torch.no_grad():
        of_pair = {
            size: operations(lambda size=size: raft.estimate(*torch.rand(2, 1, 3, *size, device=device), 24))
            for size in {CHAIRS, *(size for _, size in EVALUATED.values())}
        }
    predictor = build_next_frame(
        **model, iterations=cfg.pretraining.iterations, decoder=cfg.pretraining.decoder, context=cfg.pretraining.context
    ).to(device)
    clips = torch.rand(cfg.pretraining.batch_size, 2, 1, cfg.clips.crop, cfg.clips.crop, device=device)
    of_clips = operations(lambda: predictor(clips).square().mean().backward())
    config = comparison_config(cfg)
    runs = len(conditions_of(cfg, config)) * len(config.seeds)
    validations = cfg.training.steps // cfg.training.validate_every + 1
    return {
        "pre-training steps": (of_clips, cfg.sources * cfg.pretraining.steps),
        "training steps": (step, runs * cfg.training.steps),
        "validated pairs": (of_pair[CHAIRS], runs * validations * VALIDATED),
        "evaluated pairs": (
            sum(count * of_pair[size] for count, size in EVALUATED.values()) / sum(n for n, _ in EVALUATED.values()),
            runs * sum(count for count, _ in EVALUATED.values()),
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=1, help="pairs in the step that is measured")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    conf = Path(__file__).parents[1] / "conf"
    with initialize_config_dir(str(conf), version_base="1.3"):
        cfg = compose("compare", ["experiment=study_full", *STAND_INS])
        crop = compose("train", ["flow_data=chairs"]).flow_data.training.flying_chairs_training.augmentation
    OmegaConf.set_struct(cfg, False)
    cfg.flow_data_crop = (crop.height, crop.width)
    sources = sources_of(planned_runs(run_configs(cfg, comparison_config(cfg))))
    cfg.sources = len([name for name in sources if not name.startswith("untrained")])
    counted = stages(cfg, arguments.batch, device)

    model = build_raft(cfg.model.variant, cfg.model.feature_norm).to(device)
    size = tuple(cfg.flow_data_crop)
    one = operations(lambda: raft_step(model, arguments.batch, size, cfg.training.iterations))
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        raft_step(model, arguments.batch, size, cfg.training.iterations)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    sustained = one / min(times[1:])

    table = Table("stage", "units", "GFLOP each", "PFLOP in all", "hours here")
    rows = {}
    for name, (each, units) in counted.items():
        rows[name] = {"units": units, "gflop": each / 1e9, "pflop": each * units / 1e15}
        rows[name]["hours"] = each * units / sustained / 3600
        table.add_row(name, f"{units:,}", *(f"{rows[name][key]:,.1f}" for key in ("gflop", "pflop", "hours")))
    total = sum(row["pflop"] for row in rows.values())
    hours = sum(row["hours"] for row in rows.values())
    table.add_row("all", "", "", f"{total:,.0f}", f"{hours:,.0f}", style="bold")
    Console(width=100).print(table)
    print(f"this machine sustains {sustained / 1e12:.3f} TFLOP/s in the training step ({min(times[1:]):.2f} s)")
    for tera in (5, 20, 50):
        print(f"at {tera} TFLOP/s: {total / tera * 1000 / 3600:,.0f} hours")
    if arguments.json:
        found = {"stages": rows, "tflops": sustained / 1e12, "pflop": total, "device": arguments.device}
        arguments.json.write_text(json.dumps(found, indent=2, default=str) + "\n")


if __name__ == "__main__":
    main()
