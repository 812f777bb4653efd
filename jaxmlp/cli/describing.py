"""What the commands say of a data set before they train on it."""

import numpy as np

from jaxmlp.cli import printable
from jaxmlp.data import Dataset

MOST = 10  # names in a line
LARGE = 10.0  # targets beyond which, or below 1 by it, training from small weights is slow


def lines_about(dataset: Dataset) -> list[str]:
    """What there is, and what has been made of inputs and labels."""
    examples = ", ".join(
        f"{len(getattr(dataset, part).x):,} {part}" for part in ("train", "validation", "test")
    )
    lines = [f"examples    {examples}", f"inputs      {dataset.preprocessing}"]
    if dataset.loss == "softmax" and np.ndim(dataset.train.labels) == 2:
        lines.append(f"labels      {_of_rows(np.asarray(dataset.train.labels))}")
    if dataset.class_names:
        names = ", ".join(name[:40] for name in dataset.class_names[:MOST])
        more = f" … {dataset.n_out} in all" if dataset.n_out > MOST else ""
        lines.append(f"{'classes' if dataset.loss == 'softmax' else 'outputs'}     {names}{more}")
    if dataset.loss == "squared" and dataset.targets.kind == "as is":
        lines += [f"targets     {said}" for said in _of_targets(np.asarray(dataset.train.labels))]
    lines += [f"{word:<12}{text}" for word, text in dataset.remarks]
    return [printable(line) for line in lines]


def _of_targets(y: np.ndarray) -> list[str]:
    """What to do about targets that are far from the numbers with which a network begins."""
    sizes = np.abs(y).max(axis=0)
    if (sizes <= LARGE).all() and (sizes >= 1 / LARGE).all():
        return []
    return [
        f"as is: they run from {y.min():.3g} to {y.max():.3g}, far from the size of 1 at which a "
        "network begins: give --targets standardise"
    ]


def _of_rows(rows: np.ndarray) -> str:
    """What rows of labels are taken for, and what they may be."""
    taken = f"rows of weights of {rows.shape[1]} classes"
    sums, whole = rows.sum(axis=1), bool(np.isin(rows, (0, 1)).all())
    if whole and sums.max() <= 1:
        return f"{taken}, one-hot"
    if whole:
        taken += f", though {(sums > 1).sum():,} of {len(rows):,} hold more than one 1"
        return f"{taken}: for several labels at once, give --loss sigmoid"
    if sums.max() - sums.min() > 1e-3 * sums.max():
        taken += f", with sums from {sums.min():.3g} to {sums.max():.3g}"
    return (
        f"{taken}: to predict numbers, give --loss squared; several labels at once, --loss sigmoid"
    )
