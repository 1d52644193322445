"""A BiLSTM-CRF tagger in plain PyTorch, written the usual way: the peer of our own.

Sentences padded to the longest of their batch, one `nn.LSTM` over packed sequences, and a
linear-chain CRF whose forward algorithm is a loop over words in Python, with a mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence


class PlainTagger(nn.Module):
    """Word vectors, a bidirectional LSTM, a linear layer and a CRF.

    Args:
        words: size of the vocabulary. tags: K, how many.
        embedding: E. hidden: units of the LSTM in each direction. dropout: before and after it.
    """

    def __init__(self, words: int, tags: int, embedding: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.vectors = nn.Embedding(words, embedding)
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True, bidirectional=True)
        self.output = nn.Linear(2 * hidden, tags)
        self.transitions = nn.Parameter(torch.randn(tags, tags) * 0.1)  # from, to
        self.begin = nn.Parameter(torch.randn(tags) * 0.1)
        self.end = nn.Parameter(torch.randn(tags) * 0.1)

    def loss(self, words: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """Mean negative log-likelihood of a batch: words and tags (B, T), lengths (B)."""
        scores = self._scores(words, lengths)
        mask = torch.arange(words.shape[1])[None, :] < lengths[:, None]  # (B, T)
        return (self._log_partition(scores, mask) - self._gold(scores, tags, mask)).mean()

    def _scores(self, words: Tensor, lengths: Tensor) -> Tensor:
        inputs = self.dropout(self.vectors(words))  # (B, T, E)
        packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return self.output(self.dropout(states))  # (B, T, K)

    def _log_partition(self, scores: Tensor, mask: Tensor) -> Tensor:
        alpha = self.begin + scores[:, 0]  # (B, K)
        for step in range(1, scores.shape[1]):
            paths = alpha[:, :, None] + self.transitions + scores[:, step, None, :]  # (B, K, K)
            alpha = torch.where(mask[:, step, None], torch.logsumexp(paths, dim=1), alpha)
        return torch.logsumexp(alpha + self.end, dim=1)

    def _gold(self, scores: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        own = scores.gather(2, tags[:, :, None]).squeeze(2) * mask  # (B, T)
        steps = self.transitions[tags[:, :-1], tags[:, 1:]] * mask[:, 1:]
        last = tags.gather(1, mask.sum(1, keepdim=True) - 1).squeeze(1)
        return self.begin[tags[:, 0]] + own.sum(1) + steps.sum(1) + self.end[last]


class PlainTraining:
    """Adam steps on batches of sentences.

    Args:
        model: what is trained. words, tags: numbers of each sentence. rate: of Adam. clip: the
            largest norm of the gradient.
    """

    def __init__(
        self,
        model: PlainTagger,
        words: Sequence[Tensor],
        tags: Sequence[Tensor],
        *,
        rate: float = 0.002,
        clip: float = 5.0,
    ) -> None:
        self.model, self.words, self.tags, self.clip = model, words, tags, clip
        self.optimiser = torch.optim.Adam(model.parameters(), lr=rate)

    def step(self, batch: Sequence[int]) -> int:
        """Train on the sentences of these ranks; how many words they have."""
        lengths = torch.tensor([len(self.words[rank]) for rank in batch])
        words = pad_sequence([self.words[rank] for rank in batch], batch_first=True)
        tags = pad_sequence([self.tags[rank] for rank in batch], batch_first=True)
        self.optimiser.zero_grad()
        self.model.loss(words, tags, lengths).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimiser.step()
        return int(lengths.sum())
