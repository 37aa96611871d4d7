"""What a comparison says, in sentences."""

import pandas as pd

from rwtl.compare.analysis import Comparison
from rwtl.compare.conditions import percentage
from rwtl.compare.measures import VALIDATION
from rwtl.compare.summary import DATA, STEPS
from rwtl.compare.tables import cell_of


def verdicts(compared: Comparison) -> list[str]:
    """Return sentences on what differs: on each data set, in steps to each threshold, in data needed; and what not.

    A difference counts where it is significant and at least `analysis.effect` of the baseline's mean.
    """
    summary, config = compared.summary, compared.config
    tested = summary[summary.p_corrected.notna()]
    if tested.empty:
        return ["Nothing can be tested: it takes two seeds or more, and a baseline beside each condition."]
    most = int(tested.pairs.max())
    if 2 / 2**most >= config.alpha:
        return [f"No difference can be significant: of {most} seeds, p is at least {2 / 2**most:.3g}."]
    better = f"a better {config.metric}"
    asked = []
    for (dataset, fraction), own in summary[summary.measure == config.metric].groupby(
        ["dataset", "fraction"], sort=False
    ):
        where = dataset if fraction == compared.most else f"{dataset}, trained on {percentage(fraction)}"
        asked.append((f"on {where}", own, config.lower_is_better, better))
    validation = summary[(summary.dataset == VALIDATION) & (summary.fraction == compared.most)]
    untold = []
    for limit in compared.thresholds:
        own = validation[validation.measure == f"{STEPS}{limit.name}"]
        if limit.met_untrained:
            untold.append(f"Steps to {limit.name}: untrained networks are there, so the steps say nothing.")
        elif not own.reached.sum():
            untold.append(f"Steps to {limit.name}: nobody came there.")
        else:
            asked.append((f"steps to {limit.name}", own, True, "fewer steps"))
    of_data = summary[summary.measure.str.startswith(DATA)]
    for (dataset, measure), own in of_data.groupby(["dataset", "measure"], sort=False):
        asked.append((f"{measure} on {dataset}", own, True, "less data"))
    found = [(begin, _effects(own, compared, lower, better)) for begin, own, lower, better in asked]
    sentences = [f"{begin[0].upper()}{begin[1:]}: {said}." for begin, said in found if said]
    if nothing := [begin for begin, said in found if not said]:
        sentences.append(f"Nothing differs from {compared.baseline.name} by what counts {'; '.join(nothing)}.")
    return sentences + untold


def _effects(own: pd.DataFrame, compared: Comparison, lower: bool, better: str) -> str:
    """What differs, or an empty text."""
    tested = own[own.p_corrected.notna()]
    counts = tested[tested.significant & (tested.relative.abs() >= compared.config.effect)]
    good = counts[counts.difference < 0] if lower else counts[counts.difference > 0]
    bad = counts.drop(good.index)
    base, of = compared.baseline.name, f" (of {len(tested)} conditions)"
    said = [f"{better} than {base}: {_named(good)}"] if len(good) else []
    said += [f"worse than {base}: {_named(bad)}"] if len(bad) else []
    return "; ".join(said) + (of if said else "")


def _named(lines: pd.DataFrame) -> str:
    named = [
        f"{cell_of(line).name} ({100 * line.relative:+.0f} %, p {line.p_corrected:.3f})" for line in lines.itertuples()
    ]
    return ", ".join(named)
