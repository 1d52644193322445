"""Settings of n-gram models; nothing here loads NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from unrolled.errors import SettingError
from unrolled.settings import check_settings, setting

SMOOTHING_NAMES = (
    "modified-kneser-ney", "kneser-ney", "absolute", "witten-bell", "katz", "additive",
    "maximum-likelihood", "stupid-backoff",
)  # fmt: skip


@dataclass(frozen=True)
class NgramConfig:
    """How an n-gram model is estimated; each field says what it means, see docs/settings.md.

    Raises:
        SettingError: a value that is not allowed.
    """

    order: int = setting(5, "Longest n-gram.", group="Model", minimum=1, maximum=100)
    smoothing: str = setting("modified-kneser-ney", "Smoothing method.", choices=SMOOTHING_NAMES)
    prune: tuple[int, ...] = setting(
        (),
        "Cut-offs by order: '0 0 1' drops trigrams and up that come once. The last one holds for "
        "all higher orders; discounts come from the counts before.",
        minimum=0,
    )
    discount_fallback: tuple[float, float, float] = setting(
        (0.5, 1.0, 1.5),
        "Discounts of counts 1, 2, and 3 or more where the text is too small for the formula.",
        minimum=0,
    )
    strict: bool = setting(False, "Fail instead of using the fallback discounts.")
    closed: bool = setting(
        False, "The words of the text are all there will be: <unk> gets no probability."
    )
    interpolate_unigrams: bool = setting(
        True,
        "Mix unigrams with the uniform distribution; otherwise all the discounted mass of order 1 "
        "goes to <unk> (additive smoothing mixes them anyhow).",
    )
    vocabulary_pad: int = setting(0, "Count the vocabulary as at least this large.", minimum=0)
    delta: float | None = setting(
        None,
        "What additive smoothing adds to each count; 1 is Laplace's rule. By default each order "
        "has the one that makes the text likeliest, each of its words left out in turn.",
        above=0,
        shown_default="chosen by leave-one-out",
    )
    backoff: float = setting(0.4, "Factor of stupid back-off.", above=0, maximum=1)

    def __post_init__(self) -> None:
        check_settings(self)
        self._check_prune()
        self._check_fallback()
        if not self.interpolate_unigrams and (self.closed or self.vocabulary_pad):
            raise SettingError(
                "without interpolated unigrams all the mass that is left goes to <unk>, so the "
                "vocabulary can be neither closed nor padded"
            )

    def _check_prune(self) -> None:
        cutoffs = list(self.prune)
        if any(low > high for low, high in pairwise(cutoffs)):
            raise SettingError(f"prune is {cutoffs}, and must not fall from order to order")
        if len(cutoffs) > self.order:
            raise SettingError(
                f"prune has {len(cutoffs)} cut-offs, which are more than the order {self.order}"
            )
        if cutoffs and cutoffs[0] > 0:
            raise SettingError(
                f"prune is {cutoffs}, but single words cannot be pruned",
                hint="Limit the vocabulary with min_count",
            )

    def _check_fallback(self) -> None:
        discounts = self.discount_fallback
        if any(d > k for k, d in enumerate(discounts, 1)):
            raise SettingError(
                f"discount_fallback is {discounts}, allowed are 0 to 1, 0 to 2 and 0 to 3"
            )
        if self.smoothing == "katz" and any(d == k for k, d in enumerate(discounts, 1)):
            raise SettingError(
                f"discount_fallback is {discounts}, and must be below 1, 2 and 3 for katz, which "
                "would give words that were seen no probability at all"
            )

    def cutoff(self, length: int) -> int:
        """N-grams of ``length`` words that occur at most so often are dropped."""
        if not self.prune:
            return 0
        return self.prune[min(length, len(self.prune)) - 1]
