"""What a comparison says, in sentences."""

import pandas as pd

from rwtl.study.analysis import Comparison
from rwtl.study.comparison_tables import cell_of
from rwtl.study.measures import VALIDATION
from rwtl.study.rows import percentage
from rwtl.study.summary import DATA, STEPS


def verdicts(compared: Comparison) -> list[str]:
    """Return a sentence for each data set, for the steps to each threshold, and for the data needed.

    A difference counts where it is significant and at least `analysis.effect` of the baseline's mean.
    """
    summary, metric, alpha = compared.summary, compared.config.metric, compared.config.alpha
    tested = summary[summary.p_corrected.notna()]
    if tested.empty:
        return ["Nothing can be tested: it takes two seeds or more, and a baseline beside each condition."]
    most = int(tested.pairs.max())
    if 2 / 2**most >= alpha:
        return [f"No difference can be significant: of {most} seeds, p is at least {2 / 2**most:.3g}."]
    sentences = []
    for (dataset, fraction), own in summary[summary.measure == metric].groupby(["dataset", "fraction"], sort=False):
        where = dataset if fraction == compared.most else f"{dataset}, trained on {percentage(fraction)}"
        sentences.append(_sentence(f"On {where}", own, compared, compared.config.lower_is_better, f"a better {metric}"))
    validation = summary[(summary.dataset == VALIDATION) & (summary.fraction == compared.most)]
    for limit in compared.thresholds:
        own = validation[validation.measure == f"{STEPS}{limit.name}"]
        if limit.met_untrained:
            sentences.append(f"Steps to {limit.name}: untrained networks are there, so the steps say nothing.")
        elif not own.reached.sum():
            sentences.append(f"Steps to {limit.name}: nobody came there.")
        else:
            sentences.append(_sentence(f"Steps to {limit.name}", own, compared, True, "fewer steps"))
    of_data = summary[summary.measure.str.startswith(DATA)]
    for (dataset, measure), own in of_data.groupby(["dataset", "measure"], sort=False):
        begin = f"Data to come to {measure.removeprefix(DATA)} on {dataset}"
        sentences.append(_sentence(begin, own, compared, True, "less data"))
    return sentences


def _sentence(begin: str, own: pd.DataFrame, compared: Comparison, lower: bool, better: str) -> str:
    tested = own[own.p_corrected.notna()]
    if tested.empty:
        return f"{begin}: nothing can be tested."
    counts = tested[tested.significant & (tested.relative.abs() >= compared.config.effect)]
    good = counts[counts.difference < 0] if lower else counts[counts.difference > 0]
    bad = counts.drop(good.index)
    base = compared.baseline.name
    said = []
    if len(good):
        said.append(f"{better} than {base}: {_named(good)}")
    if len(bad):
        said.append(f"worse than {base}: {_named(bad)}")
    return f"{begin}, of {len(tested)} conditions: {'; '.join(said) or f'none differs from {base} by what counts'}."


def _named(lines: pd.DataFrame) -> str:
    named = [
        f"{cell_of(line).name} ({100 * line.relative:+.0f} %, p {line.p_corrected:.3f})" for line in lines.itertuples()
    ]
    return ", ".join(named)
