"""One implementation of RAFT in a process of its own, for raft.py: reads jobs as JSON lines, answers with JSON lines.

It runs in any environment that holds the implementation it is named: `rwtl`, `ptlflow` or `torchvision`.
"""

import contextlib
import json
import resource
import sys
import time
from pathlib import Path

import torch
from torch import nn

MAX_FLOW, GAMMA = 400.0, 0.8  # of the official loss


class Rwtl:
    """Ours. Options: `correlation`, `channels_last`."""

    def __init__(self, weights, variant, options):
        from rwtl.learning.metrics import sequence_loss
        from rwtl.models.checkpoints import load_raft

        self.model = load_raft(Path(weights), correlation=options.get("correlation", "all_pairs"))
        self.sequence_loss = sequence_loss
        if options.get("channels_last"):
            self.model.to(memory_format=torch.channels_last)

    def infer(self, image1, image2, iterations):
        return self.model.estimate(image1, image2, iterations).flow

    def train(self, image1, image2, flow, iterations):
        flows = self.model(image1, image2, iterations)
        return flows[-1], self.sequence_loss(flows, flow, torch.ones_like(flow[:, 0]), GAMMA)


class Ptlflow:
    """ptlflow's RAFT, which is the official code."""

    def __init__(self, weights, variant, options):
        import ptlflow

        self.model = ptlflow.get_model({"basic": "raft", "small": "raft_small"}[variant])
        _weights(self.model, weights)

    def _inputs(self, image1, image2):
        # ptlflow takes BGR in 0..1.
        return {"images": torch.stack((image1, image2), dim=1).flip(2) / 255}

    def infer(self, image1, image2, iterations):
        self.model.iters = iterations
        return self.model(self._inputs(image1, image2))["flows"][:, 0]

    def train(self, image1, image2, flow, iterations):
        self.model.iters = iterations
        out = self.model(self._inputs(image1, image2))
        truth = {"flows": flow[:, None], "valids": torch.ones_like(flow[:, None, :1])}
        return out["flow_preds"][-1], self.model.loss_fn(out, truth)


class Torchvision:
    """torchvision's RAFT."""

    def __init__(self, weights, variant, options):
        from torchvision.models.optical_flow import raft_large, raft_small

        self.model = {"basic": raft_large, "small": raft_small}[variant](weights=None)
        _weights(self.model, weights)

    def infer(self, image1, image2, iterations):
        return self.model(2 * image1 / 255 - 1, 2 * image2 / 255 - 1, num_flow_updates=iterations)[-1]

    def train(self, image1, image2, flow, iterations):
        flows = self.model(2 * image1 / 255 - 1, 2 * image2 / 255 - 1, num_flow_updates=iterations)
        valid = flow.square().sum(dim=1, keepdim=True).sqrt() < MAX_FLOW
        weights = [GAMMA ** (len(flows) - 1 - i) for i in range(len(flows))]
        loss = sum(w * (valid * (f - flow).abs()).mean() for w, f in zip(weights, flows, strict=True))
        return flows[-1], loss


def _weights(model, path):
    """The peer's own random weights are what both implementations run with: the first to come writes them."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    # Increments of the flow of a few pixels at most, as of a trained model.
    model.load_state_dict({k: v * 0.03 if "flow_head.conv2" in k else v for k, v in model.state_dict().items()})
    torch.save(model.state_dict(), path)


class Worker:
    def __init__(self, name, job):
        self.device = torch.device(job["device"])
        if job.get("threads"):
            torch.set_num_threads(job["threads"])
        kind = {"rwtl": Rwtl, "ptlflow": Ptlflow, "torchvision": Torchvision}[name]
        self.implementation = kind(job["weights"], job["variant"], job["options"])
        self.model = self.implementation.model.to(self.device)
        self.precision = job["options"].get("precision", "float32")
        self.job = job
        data = torch.load(job["images"], weights_only=True)
        self.image1, self.image2, self.flow = (data[key].to(self.device) for key in ("image1", "image2", "flow"))
        if job["options"].get("channels_last"):
            last = torch.channels_last
            self.image1, self.image2 = (image.contiguous(memory_format=last) for image in (self.image1, self.image2))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-6)
        self.model.train(job["task"] == "training step")
        # Peak memory counts from here: the model and what its first use loads are there already.
        small = [tensor[:1, :, :64, :64].contiguous() for tensor in (self.image1, self.image2, self.flow)]
        self._once(*small, iterations=1, step=False)
        self.base = self._peak()

    def _peak(self):
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def _once(self, image1, image2, flow, iterations, step=True):
        half = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")
        if self.job["task"] == "inference":
            with torch.no_grad(), half:
                return self.implementation.infer(image1, image2, iterations)
        with half:
            found, loss = self.implementation.train(image1, image2, flow, iterations)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if step:
            self.optimizer.step()
        return found.detach()

    def run(self):
        """Return seconds, the peak of memory so far and the flow's file."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        # Weights stay as they are, for every run to give the same flow; AdamW's time counts.
        found = self._once(self.image1, self.image2, self.flow, self.job["iterations"])
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        torch.save(found.float().cpu(), self.job["found"])
        return {"seconds": seconds, "bytes": self._peak() - self.base}


def main():
    answers = sys.stdout
    worker = None
    for line in sys.stdin:
        job = json.loads(line)
        with contextlib.redirect_stdout(sys.stderr):
            if worker is None:
                worker = Worker(sys.argv[1], job)
                answer = {"torch": torch.__version__, "threads": torch.get_num_threads()}
            else:
                answer = worker.run()
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
