from .api import build_all as build_all
from .api import compare as compare
from .api import open_artifact as open_artifact
from .api import simulate as simulate
from .api import transfer as transfer
from .clips.dataset import WaveClips as WaveClips
from .comparing.comparison import comparison as comparison
from .comparing.runs import find_runs as find_runs
from .composition import compose as compose
from .errors import InputError as InputError
from .flow.catalogue import open_dataset as open_dataset
from .flow.catalogue import register_dataset as register_dataset
from .learning.evaluation import evaluate as evaluate
from .learning.recipe import Task as Task
from .models.checkpoints import load_raft as load_raft
from .models.parts import register_variant as register_variant
from .pipeline.artifact import build as build
from .pipeline.evaluation import evaluation as evaluation
from .pipeline.flow_training import training as training
from .pipeline.pretraining import pretraining as pretraining
from .pipeline.recording import recording as recording
from .pipeline.source_tasks import register_task as register_task
from .waves.config import RecordingConfig as RecordingConfig
from .waves.measure.statistics import wave_statistics as wave_statistics
from .waves.store import open_recording as open_recording

__version__: str
