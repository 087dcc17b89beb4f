"""The block under `trial.data`: where the training data come from."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from nfa_kernels import names
from service.grid.setting_types import (
    Count,
    PositiveList,
    Positives,
    Ranges,
    Real,
    Section,
    WholeRanges,
    listed,
    one_of,
)

CountList = Annotated[list[Annotated[Count, Field(ge=1, le=1_000_000)]], Field(fail_fast=True)]
DataKind = Annotated[str, AfterValidator(one_of(names.DATA_KINDS)), listed(names.DATA_KINDS)]
Encoding = Annotated[str, AfterValidator(one_of(names.ENCODINGS)), listed(names.ENCODINGS)]
Layout = Annotated[str, AfterValidator(one_of(names.LAYOUTS)), listed(names.LAYOUTS)]
Link = Annotated[str, AfterValidator(one_of(names.LINKS)), listed(names.LINKS)]
Pooling = Annotated[str, AfterValidator(one_of(names.POOLINGS)), listed(names.POOLINGS)]


class DataSettings(Section):
    """The training data. Which fields count depends on `kind`."""

    kind: DataKind = Field("linear_teacher", description="Where the data come from.")
    samples: Count = Field(200, ge=1, le=1_000_000, description="Number of training samples n.")
    inputs: Count = Field(10, ge=1, le=65_536, description="Input dimension d.")
    outputs: Count = Field(4, ge=1, le=4_096, description="Output dimension k.")
    spectrum: Positives = Field(
        default=[3.0, 2.0, 1.5, 1.0],
        description="Singular values of the teacher A = U diag(spectrum) V^T; a list or a range. At most "
        "min(inputs, outputs) values.",
    )
    noise: Real = Field(0.1, ge=0, description="Standard deviation of Gaussian noise added to the targets.")
    covariance: Annotated[Literal["identity", "whitened"] | PositiveList, Ranges] = Field(
        "identity",
        description="Inputs: N(0, I), exactly whitened (X^T X / n = I), or N(0, diag(variances)) from d of them: a "
        "list, a range, or {repeat: [[1, 10], [0.01, 190]]}.",
    )
    strengths: Positives = Field(
        default=[4.0, 1.0, 1.0], description="clusters: target s_j along axis j; as many as inputs and outputs."
    )
    counts: Annotated[CountList, WholeRanges, Field(min_length=1, max_length=4096)] = Field(
        default=[1, 64, 64], description="clusters: how often each point occurs."
    )
    offset: Real = Field(0.25, ge=0, description="clusters: x^(j) = radius (e_j - offset sum_{i != j} e_i).")
    radius: Real = Field(1.0, gt=0, description="clusters: multiplies points and targets.")
    link: Link = Field("hermite2", description="single_index, multi_index, conv_teacher: function of the projections.")
    directions: Count = Field(2, ge=1, le=4_096, description="multi_index: number of directions.")
    order: Count = Field(3, ge=1, le=65_536, description="sparse_parity: number of coordinates in the product.")
    channels: Count = Field(1, ge=1, le=1_024, description="conv_teacher: channels c of the images.")
    size: Count = Field(8, ge=1, le=1_024, description="conv_teacher: images are (c, size, size).")
    patch: Count = Field(3, ge=1, le=1_024, description="conv_teacher: side k of a patch.")
    filters: Count = Field(2, ge=1, le=4_096, description="conv_teacher: number of filters, at most c k^2.")
    pooling: Pooling = Field(
        "sum", description="conv_teacher: over the P positions of a patch: sum / sqrt(P), mean, or max."
    )
    modulus: Count = Field(31, ge=2, le=1_000, description="modular_addition: p; there are p^2 pairs and p outputs.")
    fraction: Real | None = Field(
        None,
        gt=0,
        le=1,
        description="modular_addition: share of the pairs that is trained on, the rest is held out; null: 0.5, or "
        "1 - test_fraction.",
    )
    encoding: Encoding = Field(
        "one_hot", description="modular_addition: one_hot: 2 p numbers; tokens: two whole numbers below p."
    )
    equals_sign: bool = Field(
        False, description="modular_addition: with tokens, whether a third one, p, follows the pair."
    )
    layout: Layout = Field(
        "flat", description="digits: flat: 64 numbers; image: (1, 8, 8), which fully connected networks flatten."
    )
    standardise: bool = Field(
        True,
        description="iris, wine, breast_cancer, diabetes: every column to mean 0 and variance 1 over the training "
        "rows; the target of diabetes too.",
    )
    test_samples: Count = Field(0, ge=0, le=1_000_000, description="Number of held-out samples; 0: no test set.")
    test_fraction: Real | None = Field(
        None,
        ge=0,
        lt=1,
        description="Instead of test_samples, for sets of a known size (digits, tables, modular_addition, uploaded "
        "without x_test): share of all rows that is held out.",
    )
    seed: Count | None = Field(
        None, ge=0, le=2**63 - 1, description="Fixes the data for every trial; null: each trial's own seed."
    )
    dataset_id: str | None = Field(
        None,
        max_length=128,
        description="uploaded: id of a dataset with arrays x (n, d), (n, t, d) or (n, c, h, w), y (n, k), also x_test, "
        "y_test.",
    )
    vocabulary: Count | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="uploaded: x is tokens (n, t), whole numbers below this; null: x is numbers.",
    )

    @model_validator(mode="after")
    def _dataset_named(self) -> Self:
        if self.kind == "uploaded" and self.dataset_id is None:
            raise ValueError("kind uploaded needs dataset_id: upload the data with POST /datasets and name its id")
        return self

    @model_validator(mode="after")
    def _kind_fits(self) -> Self:
        if self.kind == "clusters" and len(self.counts) != len(self.strengths):
            raise ValueError(
                f"counts lists {len(self.counts)} numbers for {len(self.strengths)} strengths: give as many"
            )
        if self.kind == "multi_index" and self.directions > self.inputs:
            raise ValueError(f"directions must be at most inputs = {self.inputs}, not {self.directions}")
        if self.kind == "sparse_parity" and self.order > self.inputs:
            raise ValueError(f"order must be at most inputs = {self.inputs}, not {self.order}")
        numbers = self.channels * self.patch**2
        if self.kind == "conv_teacher" and self.patch > self.size:
            raise ValueError(f"patch must be at most size = {self.size}, not {self.patch}")
        if self.kind == "conv_teacher" and self.filters > numbers:
            raise ValueError(f"filters must be at most channels patch^2 = {numbers}, not {self.filters}")
        return self

    @model_validator(mode="after")
    def _held_out_once(self) -> Self:
        if self.test_fraction is None or "test_fraction" not in names.DATA_KINDS[self.kind]:
            return self
        if self.test_fraction == 0 and self.kind != "modular_addition":
            return self
        if self.test_samples:
            raise ValueError(
                f"give one of test_samples ({self.test_samples}) and test_fraction ({self.test_fraction:g}), not both"
            )
        if self.kind == "modular_addition" and self.fraction is not None:
            raise ValueError(
                f"give one of fraction ({self.fraction:g}) and test_fraction ({self.test_fraction:g}), not both: "
                "what is not trained on is held out"
            )
        return self

    @model_validator(mode="after")
    def _rows_are_there(self) -> Self:
        if self.kind == "modular_addition":
            self._split_pairs()
        if self.kind not in names.TABLES:
            return self
        total = names.TABLES[self.kind].samples
        if self.test_fraction and not 0 < names.share(total, self.test_fraction) < total:
            raise ValueError(
                f"test_fraction {self.test_fraction:g} of the {total} samples of {self.kind} leaves none on one side"
            )
        tests = names.share(total, self.test_fraction) if self.test_fraction else self.test_samples
        if self.kind == "digits" and self.samples + tests > total:
            raise ValueError(f"digits has {total} samples: samples + test_samples is {self.samples} + {tests}")
        if tests >= total:
            raise ValueError(f"{self.kind} has {total} samples: test_samples {tests} leaves none to train on")
        return self

    def _split_pairs(self) -> None:
        pairs, fraction = self.modulus**2, self.trained_fraction
        if not names.share(pairs, fraction):
            raise ValueError(f"fraction {fraction:g} of the {pairs} pairs of modulus {self.modulus} is no pair")

    @property
    def trained_fraction(self) -> float:
        """modular_addition: the share of the pairs that is trained on."""
        if self.test_fraction is not None:
            # to 15 digits, so that the two ways to write a split agree
            return float(f"{1 - self.test_fraction:.15g}")
        return 0.5 if self.fraction is None else float(self.fraction)

    @model_validator(mode="after")
    def _teacher_fits(self) -> Self:
        if self.kind != "linear_teacher":
            return self
        rank = min(self.inputs, self.outputs)
        if len(self.spectrum) > rank:
            raise ValueError(
                f"spectrum lists {len(self.spectrum)} singular values, but a map from {self.inputs} inputs to "
                f"{self.outputs} outputs has {rank}"
            )
        if isinstance(self.covariance, list) and len(self.covariance) != self.inputs:
            raise ValueError(
                f"covariance lists {len(self.covariance)} variances, but there are {self.inputs} inputs: "
                "give one variance per input"
            )
        if self.covariance == "whitened" and self.samples < self.inputs:
            raise ValueError(
                f"covariance whitened needs at least as many samples as inputs, not {self.samples} for {self.inputs}"
            )
        return self
