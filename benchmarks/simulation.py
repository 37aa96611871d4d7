"""How fast the simulator is: beside stock Brian2, and beside a loop written by hand, the limit.

    python benchmarks/simulation.py --threads 1 2 --json simulation.json

The same lattice, cells, time step, number of steps and cores for

- stock Brian2: C++ standalone as its documentation shows it, with the method `heun` and `xi`, a summed variable of
  `Synapses`, a `StateMonitor` of calcium, and default preferences (double precision). Of Brian2's methods that take
  `xi` it is the one named in most models; it evaluates the equations once a step, and is of first order but for the
  noise, so the comparison favours it: the others evaluate them twice;
- `CppEngine` in double and in single precision, its frames read while it runs;
- `simulation_limit.cpp` in single precision, with the same noise as the engine, and without noise.

Repetitions are interleaved, and the best counts. Rates are of the simulation alone: Brian2's own clock for stock Brian2
(processor time on one thread), from the first frame to the last for the engine, the call for the loop. First the script
makes sure that they simulate the same: stock Brian2's model, without noise and by the midpoint rule, has to give the
calcium of the engine, and after every repetition so have the engine in the other precision and the loop, with noise.
"""

import argparse
import ctypes
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from brian2 import BrianObject, Network, NeuronGroup, StateMonitor, Synapses, device, prefs, second
from rich.console import Console
from rich.table import Table

from rwtl.waves import RecordingConfig, SacParameters
from rwtl.waves.engines.cpp import CppEngine
from rwtl.waves.engines.runtime import RuntimeEngine
from rwtl.waves.engines.standalone import standalone_device
from rwtl.waves.model.equations import parameter_quantities
from rwtl.waves.model.functions import standard_normal_function
from rwtl.waves.model.state import NANOMOLAR, VARIABLES
from rwtl.waves.simulation import first_snapshot

STUDY = {"lattice": (432, 432), "duration": 570.0}  # the study's recording: 540 s after a transient of 30 s
STOCK, DOUBLE, SINGLE = "stock Brian2, float64", "CppEngine, float64", "CppEngine, float32"
LIMIT, QUIET = "loop by hand, float32", "loop by hand, float32, no noise"

# The papers' equations, as a user of Brian2 writes them.
EQUATIONS = """
dv/dt = (I_ext + sigma*xi - g_L*(v - V_L) - I_Ca - g_K*n*(v - V_K) - g_sAHP*r**4*(v - V_K) - I_A)/C_m : volt
dn/dt = cosh((v - V_3)/(2*V_4))*((1 + tanh((v - V_3)/V_4))/2 - n)/tau_N : 1
dr/dt = (alpha_R*s*(1 - r) - r)/tau_R : 1
ds/dt = (alpha_S*c**4*(1 - s) - s)/tau_S : 1
dc/dt = (C_0 - alpha_C/H_X*c - delta_C*I_Ca)/tau_C : mmolar
da/dt = beta_A/(1 + exp(-kappa_A*(v - V_0))) - mu_A*a : mmolar
I_Ca = g_C*(1 + tanh((v - V_1)/V_2))/2*(v - V_C) : amp
I_A = g_A*acetylcholine*(v - V_A) : amp
acetylcholine : 1
"""
SYNAPSES = "acetylcholine_post = a_pre**2/(gamma_A + a_pre**2) : 1 (summed)"

LARGEST_DIFFERENCE = 0.1  # nM
LIMIT_FLAGS = (
    "-O3 -ffast-math -fno-finite-math-only -fschedule-insns -march=native -mprefer-vector-width=512 -fopenmp "
    "-std=c++17 -shared -fPIC"
)


@dataclass
class Variant:
    """What is compared.

    Attributes:
        run: makes one repetition; gives its rate in cell-steps/s and, but for stock Brian2, the last frame but one, nM.
        preparation: seconds that generating, compiling and starting took.
        rates: of the repetitions.
    """

    name: str
    run: Callable[[], tuple[float, np.ndarray | None]]
    preparation: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    frame: np.ndarray | None = None


def config_of(rows: int, columns: int, seconds: float, frame_interval: float, sigma: float) -> RecordingConfig:
    # A current that makes every cell burst, so that calcium tells apart what is simulated.
    cell = SacParameters(I_ext=20.0, sigma=sigma)
    return RecordingConfig(rows, columns, 50.0, seconds, 0.0, 2e-4, frame_interval, 0, cell)


def cell_steps(config: RecordingConfig, frames: int) -> float:
    return config.rows * config.columns * frames * config.steps_per_frame


def stock_model(config: RecordingConfig, equations: str, method: str) -> tuple[NeuronGroup, list[BrianObject]]:
    parameters, step = parameter_quantities(config.cell, {}), config.time_step * second
    cells = NeuronGroup(config.rows * config.columns, equations, method=method, dt=step, namespace=parameters)
    for name, value in first_snapshot(config).values.items():
        cells.variables[name].set_value(value.ravel())
    synapses = Synapses(cells, cells, SYNAPSES, dt=step, namespace=parameters)
    index = np.arange(config.rows * config.columns).reshape(config.rows, config.columns)
    beside = [(index[:, :-1], index[:, 1:]), (index[:-1], index[1:])]
    ones, others = (np.concatenate([pair[side].ravel() for pair in beside]) for side in (0, 1))
    synapses.connect(i=np.concatenate([ones, others]), j=np.concatenate([others, ones]))
    return cells, [cells, synapses]


def stock_brian2(config: RecordingConfig, threads: int, folder: Path) -> Variant:
    began = time.monotonic()
    preferences = {"devices.cpp_standalone.openmp_threads": threads} if threads > 1 else {}
    with standalone_device("cpp_standalone", preferences):
        cells, objects = stock_model(config, EQUATIONS, "heun")
        monitor = StateMonitor(cells, "c", record=True, dt=config.frame_interval * second)
        Network(objects, monitor).run(config.duration * second)
        device.build(directory=str(folder), run=False)

    def run() -> tuple[float, None]:
        subprocess.run(["./main", "--results_dir", f"{folder / 'results'}/"], cwd=folder, check=True)
        seconds = float((folder / "results" / "last_run_info.txt").read_text().split()[0])
        return cell_steps(config, config.simulated_frames) / seconds, None

    return Variant(STOCK, run, [time.monotonic() - began])


def engine(config: RecordingConfig, threads: int, precision: str) -> Variant:
    def run() -> tuple[float, np.ndarray]:
        began = time.monotonic()
        calcium, times = {}, []
        for frame in CppEngine(threads, precision).frames(config, first_snapshot(config)):
            times.append(time.monotonic())
            calcium[frame.number] = frame.calcium
        rate = cell_steps(config, len(times) - 1) / (times[-1] - times[0])
        variant.preparation.append(times[0] - began - cell_steps(config, 1) / rate)
        return rate, calcium[config.simulated_frames - 1]

    variant = Variant(f"CppEngine, {precision}", run)
    return variant


def loop_by_hand(config: RecordingConfig, threads: int, noise: bool, folder: Path) -> Variant:
    began = time.monotonic()
    constants = {name: f"float {name} = {float(value)!r}f" for name, value in parameters_of(config).items()}
    text = "\n".join(
        [
            "#include <cmath>\n#include <cstdint>\n#include <vector>",
            standard_normal_function().implementations["cpp"].get_code(None),
            *(f"constexpr {constant};" for constant in constants.values()),
            f"constexpr int rows = {config.rows}, columns = {config.columns}, threads = {threads};",
            f"constexpr int steps_per_coupling = {config.steps_per_coupling};",
            f"constexpr int64_t seed = {config.seed};",
            f"constexpr bool with_noise = {str(noise).lower()};",
            f'#include "{Path(__file__).with_name("simulation_limit.cpp")}"',
        ]
    )
    folder.mkdir()
    (folder / "limit.cpp").write_text(text)
    subprocess.run(["g++", *LIMIT_FLAGS.split(), "limit.cpp", "-o", "limit.so"], cwd=folder, check=True)
    simulate = ctypes.CDLL(str(folder / "limit.so")).simulate

    def run() -> tuple[float, np.ndarray]:
        state = {name: value.astype(np.float32) for name, value in first_snapshot(config).values.items()}
        pointers = [state[name].ctypes.data_as(ctypes.c_void_p) for name in VARIABLES]
        frames = config.simulated_frames - 1
        began = time.monotonic()
        simulate(ctypes.c_int64(frames * config.steps_per_frame), *pointers)
        return cell_steps(config, frames) / (time.monotonic() - began), state["c"] / NANOMOLAR

    return Variant(LIMIT if noise else QUIET, run, [time.monotonic() - began])


def parameters_of(config: RecordingConfig) -> dict[str, float]:
    return {"time_step": config.time_step, **parameter_quantities(config.cell, {})}


def require_the_same_model() -> None:
    """Raise where stock Brian2's equations and synapses are not those of the engines."""
    config = config_of(6, 7, 0.2, 0.1, sigma=0.0)
    *_, last = RuntimeEngine("numpy", "float64").frames(config, first_snapshot(config))
    before, prefs.codegen.target = prefs.codegen.target, "numpy"
    try:
        cells, objects = stock_model(config, EQUATIONS.replace("+ sigma*xi", ""), "rk2")
        Network(objects).run(config.duration * second)
        calcium = np.array(cells.variables["c"].get_value()).reshape(last.calcium.shape) / NANOMOLAR
    finally:
        prefs.codegen.target = before
    require_close("stock Brian2's model and the engine's, without noise", calcium, last.calcium)


def require_close(what: str, calcium: np.ndarray, other: np.ndarray) -> None:
    difference = np.abs(calcium - other).max()
    if not difference < LARGEST_DIFFERENCE < np.ptp(other):
        raise SystemExit(f"calcium of {what} differs by {difference:.3g} nM; it varies by {np.ptp(other):.3g} nM")
    print(f"calcium of {what}: largest difference {difference:.2g} nM, range {np.ptp(other):.3g} nM")


def table_of(variants: dict[str, Variant], threads: int, config: RecordingConfig) -> Table:
    table = Table(title=f"{config.rows}×{config.columns} cells, {config.duration:g} s, threads: {threads}")
    for heading in (
        "",
        "10⁶ cell-steps/s",
        "per core",
        "÷ stock",
        "÷ loop by hand",
        "compile, start s",
        "the study's, h",
    ):
        table.add_column(heading, justify="right" if heading else "left")
    steps = np.prod(STUDY["lattice"]) * STUDY["duration"] / config.time_step
    for name, variant in variants.items():
        rate = max(variant.rates)
        table.add_row(
            name,
            f"{rate / 1e6:.1f}",
            f"{rate / 1e6 / threads:.1f}",
            *(f"{rate / max(variants[other].rates):.2f}" for other in (STOCK, LIMIT)),
            f"{min(variant.preparation):.1f}",
            f"{steps / rate / 3600:.2f}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--columns", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=2.0, help="of model time")
    parser.add_argument("--frame-interval", type=float, default=0.1, help="s")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    config = config_of(arguments.rows, arguments.columns, arguments.seconds, arguments.frame_interval, sigma=5.0)
    if config.simulated_frames < 2:
        parser.error("--seconds must be at least two frame intervals")
    require_the_same_model()
    figures = []
    for threads in arguments.threads:
        with tempfile.TemporaryDirectory(prefix="rwtl-benchmark-") as name:
            folder = Path(name)
            variants = {
                variant.name: variant
                for variant in (
                    stock_brian2(config, threads, folder / "stock"),
                    engine(config, threads, "float64"),
                    engine(config, threads, "float32"),
                    loop_by_hand(config, threads, True, folder / "limit"),
                    loop_by_hand(config, threads, False, folder / "quiet"),
                )
            }
            for _ in range(arguments.repeat):
                for variant in variants.values():
                    rate, variant.frame = variant.run()
                    variant.rates.append(rate)
        require_close("the loop and the engine, float32", variants[LIMIT].frame, variants[SINGLE].frame)
        require_close("the engine, float32 and float64", variants[SINGLE].frame, variants[DOUBLE].frame)
        Console(width=120).print(table_of(variants, threads, config))
        figures += [
            {
                "variant": variant.name,
                "threads": threads,
                "lattice": [config.rows, config.columns],
                "cell_steps_per_second": variant.rates,
                "preparation_seconds": variant.preparation,
            }
            for variant in variants.values()
        ]
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
