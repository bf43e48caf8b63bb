"""Training and scoring of the four models. Binary cross-entropy without class weights, so that scores are probabilities.

Frauds are 0.8 % of the rows. Window models see every fraud and a fresh sample of the genuine rows in each epoch; the
genuine ones then carry the inverse of their sampling rate as weight, which keeps the probabilities calibrated.
"""
from __future__ import annotations

import copy
import time
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch.nn import functional as F

from models import HIDDEN
from rows import Rows, Split


@dataclass(frozen=True)
class Settings:
    epochs: int = 12
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    batch: int = 1024            # rows (window and row models)
    genuine_share: float = 0.25  # of the genuine rows, for each epoch
    sequences: int = 125         # sequences of a batch (recurrent model)
    chunk: int = 64              # steps of back-propagation through time
    cold_start: float = 0.15     # share of chunks that begin from an empty hidden state, as after a restart of an entity


SETTINGS = {
    'card-gru': Settings(epochs=10),
    'card-attention': Settings(epochs=16),
    'card-cnn': Settings(epochs=40),
    'card-row': Settings(epochs=30),
}


def fit(model: torch.nn.Module, rows: Rows, split: Split, settings: Settings, seed: int, say) -> dict:
    """Trains in place and keeps the epoch with the best average precision on the validation days."""
    generator = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    epoch_of = {'recurrent': recurrent_epoch}.get(model.kind, row_epoch)
    validation = rows.within(split.validation)
    best, best_state, history, started = -1.0, None, [], time.monotonic()
    for epoch in range(settings.epochs):
        for group in optimiser.param_groups:
            group['lr'] = settings.learning_rate * (0.5 + 0.5 * np.cos(np.pi * epoch / settings.epochs))
        loss = epoch_of(model, rows, split, settings, optimiser, generator)
        precision = float(average_precision_score(rows.fraud[validation], score(model, rows, validation)))
        history.append({'epoch': epoch + 1, 'loss': round(loss, 6), 'validationAveragePrecision': round(precision, 4)})
        say(f'  epoch {epoch + 1:2d}/{settings.epochs}  loss {loss:.5f}  validation average precision {precision:.4f}  {time.monotonic() - started:.0f} s')
        if precision > best:
            best, best_state = precision, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_state)
    return {'epochs': settings.epochs, 'bestEpoch': max(history, key=lambda h: h['validationAveragePrecision'])['epoch'], 'history': history,
            'seconds': time.monotonic() - started}


def row_epoch(model, rows: Rows, split: Split, settings: Settings, optimiser, generator) -> float:
    at = rows.within(split.train)
    fraud = at[rows.fraud[at] > 0]
    genuine = at[rows.fraud[at] == 0]
    genuine = generator.choice(genuine, int(len(genuine) * settings.genuine_share), replace=False)
    epoch = generator.permutation(np.concatenate([fraud, genuine]))
    total = 0.0
    model.train()
    for begin in range(0, len(epoch), settings.batch):
        chosen = epoch[begin:begin + settings.batch]
        y = torch.from_numpy(rows.fraud[chosen])
        weight = torch.where(y > 0, 1.0, 1 / settings.genuine_share)
        logits = model(inputs_at(model, rows, chosen))
        loss = (F.binary_cross_entropy_with_logits(logits, y, reduction='none') * weight).sum() / (settings.batch / settings.genuine_share)
        total += step(model, optimiser, loss)
    return total * settings.batch / settings.genuine_share / len(at)


def recurrent_epoch(model, rows: Rows, split: Split, settings: Settings, optimiser, generator) -> float:
    """Truncated back-propagation: chunks of each sequence in order, the hidden state carried from chunk to chunk."""
    train_at = rows.within(split.train)
    weighted = np.zeros(len(rows), dtype=np.float32)
    weighted[train_at] = 1
    last_day = rows.day[train_at].max()
    total, counted = 0.0, 0.0
    model.train()
    for sequences in batches_of_sequences(rows, settings.sequences, last_day, generator):
        h = torch.zeros(len(sequences), HIDDEN)
        for index, real in chunks(sequences, settings.chunk):
            weight = torch.from_numpy(weighted[index] * real)
            cold = torch.from_numpy(generator.random(len(sequences)) < settings.cold_start)
            logits, h = model.unroll(torch.from_numpy(rows.x[index]), torch.where(cold[:, None], 0.0, h.detach()))
            if weight.sum() == 0:
                continue
            losses = F.binary_cross_entropy_with_logits(logits, torch.from_numpy(rows.fraud[index]), reduction='none')
            loss = (losses * weight).sum() / (settings.sequences * settings.chunk)
            total += step(model, optimiser, loss)
            counted += float(weight.sum())
    return total * settings.sequences * settings.chunk / counted


def step(model, optimiser, loss) -> float:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())


def batches_of_sequences(rows: Rows, size: int, last_day: int, generator=None):
    """Arrays [<= size, 2] of begin and end positions up to `last_day`, alike in length; in random order if there is a generator."""
    spans = rows.sequences()
    ends = np.array([begin + np.searchsorted(rows.day[begin:end], last_day, side='right') for begin, end in spans])
    spans = np.stack([spans[:, 0], ends], axis=1)[ends > spans[:, 0]]
    spans = spans[np.argsort(spans[:, 1] - spans[:, 0], kind='stable')]
    groups = [spans[i:i + size] for i in range(0, len(spans), size)]
    order = range(len(groups)) if generator is None else generator.permutation(len(groups))
    return (groups[i] for i in order)


def chunks(sequences: np.ndarray, length: int):
    """(index [B, T], real [B, T]) of successive chunks; past the end of a sequence `real` is 0 and the index repeats its last row."""
    longest = int((sequences[:, 1] - sequences[:, 0]).max())
    for offset in range(0, longest, length):
        index = sequences[:, :1] + np.arange(offset, min(offset + length, longest))[None, :]
        real = index < sequences[:, 1:]
        yield np.where(real, index, sequences[:, 1:] - 1), real.astype(np.float32)


def inputs_at(model, rows: Rows, at: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(rows.windows(at) if model.kind == 'window' else rows.x[at])


@torch.no_grad()
def score(model, rows: Rows, at: np.ndarray) -> np.ndarray:
    """Probabilities [len(at)]. A recurrent model runs each sequence from its first row, as the stream does."""
    model.eval()
    if model.kind != 'recurrent':
        parts = [torch.sigmoid(model(inputs_at(model, rows, at[i:i + 8192]))).numpy() for i in range(0, len(at), 8192)]
        return np.concatenate(parts)
    every = np.zeros(len(rows), dtype=np.float32)
    for sequences in batches_of_sequences(rows, 500, int(rows.day[at].max())):
        h = torch.zeros(len(sequences), HIDDEN)
        for index, real in chunks(sequences, 128):
            logits, h = model.unroll(torch.from_numpy(rows.x[index]), h)
            every[index[real > 0]] = torch.sigmoid(logits).numpy()[real > 0]
    return every[at]
