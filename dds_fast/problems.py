"""The problems that a dictionary poses to a search."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dds_fast.dictionary import Dictionary
from dds_fast.search import SearchSettings, StagedProblem, memory
from dds_fast.search.problem import AnyProblem, dds_problem, latent_rows, nmf_problem


@dataclass(frozen=True)
class Problems:
    """How spectrograms are to be explained, all alike: what `decompose` was asked for.

    Attributes:
        dictionary: what to explain them by.
        settings: of the search.
        likelihood: "latent" or "data".
        random_state: seed of what is drawn.
    """

    dictionary: Dictionary
    settings: SearchSettings
    likelihood: str
    random_state: int

    def of(self, X: Tensor) -> AnyProblem:
        """That of a spectrogram ``(F, T)``, on its device and in its dtype."""
        return self._staged(X) if self.settings.algorithm == "staged" else self._gradient(X)

    def _gradient(self, X: Tensor) -> AnyProblem:
        dictionary, settings = self.dictionary, self.settings
        if dictionary.W is not None:
            problem = nmf_problem(X, dictionary.W.to(X), settings.sparsity)
        else:
            problem = dds_problem(
                X,
                dictionary.frozen(X.dtype, X.device),
                dictionary.kind,
                n_sources=len(dictionary.sources),
                n_components=settings.n_components,
                penalty=settings.penalty,
                sparsity=settings.sparsity,
                likelihood=self.likelihood,
                random_state=self.random_state,
            )
        return problem if bool(X.any()) else replace(problem, H=torch.zeros_like(problem.H))

    def _staged(self, X: Tensor) -> StagedProblem:
        dictionary, settings = self.dictionary, self.settings
        n_sources = len(dictionary.sources)
        if dictionary.W is not None:
            labels = self.labels.to(X.device)
            return StagedProblem(X, settings, n_sources, labels, W=dictionary.W.to(X))
        codes = dictionary.start_codes(self.random_state).to(X)
        Z, n_fixed = latent_rows(codes, dictionary.kind)
        return StagedProblem(
            X,
            settings,
            n_sources,
            torch.arange(n_sources, device=X.device).repeat_interleave(codes.shape[1]),
            flow=dictionary.frozen(X.dtype, X.device),
            Z=Z,
            n_fixed=n_fixed,
            likelihood=self.likelihood,
        )

    @property
    def labels(self) -> Tensor:
        """``(J,)`` source index of each row of H, where the search does not choose the entries."""
        if self.dictionary.labels is not None:
            return self.dictionary.labels
        S, K = len(self.dictionary.sources), self.settings.n_components or 1
        return torch.arange(S).repeat_interleave(K)

    def floats(self, F: int, T: int) -> int:
        """Floats that the search of ``(F, T)`` keeps."""
        dictionary, settings = self.dictionary, self.settings
        S = len(dictionary.sources)
        if dictionary.W is not None:
            J = dictionary.W.shape[1]
        elif settings.algorithm == "staged":
            J = S * dictionary.start_codes(self.random_state).shape[1]
        else:
            J = S * (settings.n_components or 1)
        return memory.needed(dictionary.kind, settings.algorithm, J, F, T)
