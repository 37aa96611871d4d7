"""Optical-flow training of RAFT: the target task, and, on wave fronts, a source task."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

from rwtl.clips.config import ClipsConfig
from rwtl.clips.dataset import WaveClips
from rwtl.clips.front_flow import WaveFlow, WholePairs
from rwtl.clips.fronts import fronts_of
from rwtl.clips.transforms import CropAndZoomFlow, FlowAugmentation, rotate_and_flip_flow
from rwtl.flow.sample import MAX_DISPLACEMENT, FlowDataset, FlowSample
from rwtl.learning.metrics import (
    METRICS,
    SPEEDS,
    FlowMetrics,
    counts_by_sample,
    counts_in_loss,
    pixels_of,
    require_known,
    sequence_loss,
)
from rwtl.learning.recipe import RaftRecipe, Task
from rwtl.learning.transfer.callback import Transfer
from rwtl.models.encoder import batch_norms
from rwtl.models.raft import RAFT
from rwtl.sections import Count, NotNegative, Seed, Unfit, section


@section("training")
class FlowRecipe(RaftRecipe):
    """A recipe of optical-flow training.

    Args:
        freeze_batchnorm_statistics: whether every BatchNorm layer of RAFT uses and keeps its running statistics, as in
            all official schedules but `chairs`; its weights are trained on.
    """

    freeze_batchnorm_statistics: bool


class OpticalFlowModule(Task):
    """Trains RAFT on batches of FlowSample; logs `loss` and, at validation, METRICS for every data set.

    Args:
        model: RAFT; trained in place.
        recipe: how.
        validation: data sets by name; the metrics of the first are logged by their own names (`epe`), those of the
            others with the data set's name before them (`sintel_final/epe`).
        transfer: what was loaded into RAFT and is held frozen.
    """

    what_counts = (
        f"whose flow is known and shorter than {MAX_DISPLACEMENT:g} px: check in which unit the flow is, and where it "
        "is said to be known"
    )

    def __init__(
        self, model: RAFT, recipe: FlowRecipe, validation: Mapping[str, FlowDataset], transfer: Transfer | None = None
    ):
        prefixes = ["", *(f"{name}/" for name in list(validation)[1:])]
        super().__init__(model, recipe, transfer, [prefix + metric for prefix in prefixes for metric in METRICS])
        self.names, self.prefixes = list(validation), prefixes
        self.paddings = [dataset.padding for dataset in validation.values()]
        self.validation_metrics = nn.ModuleList(FlowMetrics() for _ in validation)

    def on_train_batch_start(self, batch: FlowSample, batch_idx: int) -> None:
        if self.recipe.freeze_batchnorm_statistics:  # Lightning puts all modules in train mode after every validation
            for layer in batch_norms(self.model).values():
                layer.eval()

    def loss(self, batch: FlowSample) -> Float[Tensor, ""]:
        """Return the loss over all iterations."""
        self.counted = counts_by_sample(counts_in_loss(batch.flow, batch.valid))
        return sequence_loss(self.model(batch.image1, batch.image2), batch.flow, batch.valid, self.recipe.gamma)

    def validation_step(self, batch: FlowSample, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        flow = self.model.estimate(
            batch.image1,
            batch.image2,
            self.recipe.validation_iterations,
            padding=self.paddings[dataloader_idx],
        ).flow
        self.validation_metrics[dataloader_idx].update(flow, batch.flow, batch.valid)
        return flow

    def on_validation_epoch_end(self) -> None:
        self.uncounted = []
        for name, prefix, metrics in zip(self.names, self.prefixes, self.validation_metrics, strict=True):
            found = metrics.compute()
            require_known(name, int(found["pixels"]))
            self.uncounted += [prefix + speed for speed in SPEEDS if not found[pixels_of(speed)]]
            self.log_dict({prefix + metric: found[metric].float() for metric in METRICS}, logger=False)
            metrics.reset()


@section("pretraining")
class WaveFlowRecipe(FlowRecipe):
    """A recipe of optical-flow training on wave fronts.

    Args:
        validation_pairs: at most so many pairs, evenly spread over the validation part.
        seed: decides the initial weights, the order of pairs and their augmentation.
        behind: s; a pixel lies on a front if its onset was at most so long ago in the first frame,
        ahead: s; or comes at most so much later.
    """

    validation_pairs: Count
    seed: Seed
    behind: NotNegative
    ahead: NotNegative

    def __post_init__(self):
        super().__post_init__()
        if self.behind + self.ahead == 0:
            raise Unfit("behind and ahead are both 0 s: no pixel lies on a front; widen one of them")


def wave_flow_data(
    recordings: Sequence[Path], clips: ClipsConfig, recipe: WaveFlowRecipe
) -> tuple[WaveFlow, list[FlowAugmentation], WholePairs, tuple[float, float]]:
    """Return what a training on wave fronts needs.

    Args:
        recordings: paths.
        clips: how pairs are cut; its `length` must be 2.
        recipe: how they are used.

    Returns:
        The training part, its augmentations, whole zoomed pairs of the validation part, and the calcium concentrations
        (nM) that become 0 and 1 in both.
    """
    training_clips = WaveClips(recordings, clips, "training")
    validation_clips = WaveClips(recordings, clips, "validation", calcium_range=list(training_clips.calcium_range))
    fronts = [fronts_of(recording) for recording in training_clips.recordings]  # read once for both parts
    training, validation = (
        WaveFlow(part, clips.colour, recipe.behind, recipe.ahead, fronts) for part in (training_clips, validation_clips)
    )
    augmentations: list[FlowAugmentation] = [CropAndZoomFlow(clips.crop, clips.zoom)]
    if clips.rotations_and_flips:
        augmentations.append(rotate_and_flip_flow)
    whole = WholePairs(validation, clips.zoom, recipe.validation_pairs)
    return training, augmentations, whole, training_clips.calcium_range
