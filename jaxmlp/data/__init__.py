"""Data: what a data set is, how raw numbers become inputs, and readers of files."""

from jaxmlp.data.dataset import (
    AnyArray,
    Batch,
    Dataset,
    check_classes,
    check_counts,
    described_inputs,
    fingerprint,
)
