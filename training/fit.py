"""Training and scoring. Binary cross-entropy without class weights, so that scores are probabilities.

Frauds are 0.8 % of the rows. Row and window models see every fraud and a fresh sample of the genuine rows in each epoch,
which then carry the inverse of their share as weight; recurrent models may take a fresh sample of the sequences.
"""
from __future__ import annotations

import copy
import time
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch.nn import functional as F

from rows import Sequences


@dataclass(frozen=True)
class Settings:
    epochs: int = 12
    patience: int = 100          # epochs without a better validation figure before training ends
    learning_rate: float = 3e-3
    last_rate: float = 0.0       # share of it that the cosine ends at
    weight_decay: float = 1e-4
    batch: int = 1024            # rows (window and row models)
    genuine_share: float = 0.25  # of the genuine rows, for each epoch
    sequences: int = 125         # sequences of a batch (recurrent models)
    sequence_share: float = 1.0  # of the sequences, for each epoch
    chunk: int = 64              # steps of back-propagation through time
    cold_start: float = 0.15     # share of chunks that begin from an empty hidden state, as after a restart of an entity


SETTINGS = {
    'card-gru': Settings(epochs=10),
    'card-attention': Settings(epochs=16),
    'card-cnn': Settings(epochs=40),
    'card-row': Settings(epochs=30),
}


def fit(model: torch.nn.Module, rows: Sequences, train_at: np.ndarray, validate_at: np.ndarray | None, settings: Settings, seed: int, say, after_epoch=None) -> dict:
    """Trains in place. With validation rows it stops early and keeps the epoch with the best average precision on them."""
    generator = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    train_epoch = recurrent_epoch if model.kind == 'recurrent' else row_epoch
    best, best_state, best_epoch, started, cpu = -1.0, None, 0, time.monotonic(), time.process_time()
    for epoch in range(settings.epochs):
        wave = 0.5 + 0.5 * np.cos(np.pi * epoch / settings.epochs)
        for group in optimiser.param_groups:
            group['lr'] = settings.learning_rate * (settings.last_rate + (1 - settings.last_rate) * wave)
        loss = train_epoch(model, rows, train_at, settings, optimiser, generator)
        if after_epoch and after_epoch(epoch + 1):
            break
        line = f'  epoch {epoch + 1:2d}/{settings.epochs}  loss {loss:.5f}'
        if validate_at is not None:
            precision = float(average_precision_score(rows.fraud[validate_at], score(model, rows, validate_at)))
            line += f'  validation average precision {precision:.4f}'
            if precision > best:
                best, best_state, best_epoch = precision, copy.deepcopy(model.state_dict()), epoch + 1
        say(f'{line}  {time.monotonic() - started:.0f} s')
        if validate_at is not None and epoch + 1 - best_epoch >= settings.patience:
            break
    if best_state is not None:
        model.load_state_dict(best_state)
    return {'epochs': epoch + 1, 'bestEpoch': best_epoch, 'seconds': time.monotonic() - started, 'cpuSeconds': time.process_time() - cpu}


def row_epoch(model, rows: Sequences, at: np.ndarray, settings: Settings, optimiser, generator) -> float:
    fraud, genuine = at[rows.fraud[at] > 0], at[rows.fraud[at] == 0]
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


def recurrent_epoch(model, rows: Sequences, at: np.ndarray, settings: Settings, optimiser, generator) -> float:
    """Truncated back-propagation: chunks of each sequence in order, the hidden state carried from chunk to chunk."""
    weighted = np.zeros(len(rows), dtype=np.float32)
    weighted[at] = 1
    total, counted = 0.0, 0.0
    model.train()
    for sequences in batches_of_sequences(rows, settings.sequences, int(rows.day[at].max()), generator, settings.sequence_share):
        h = torch.zeros(len(sequences), model.hidden)
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


def batches_of_sequences(rows: Sequences, size: int, last_day: int, generator=None, share: float = 1.0):
    """Arrays [<= size, 2] of begin and end positions up to `last_day`, alike in length; in random order if there is a generator."""
    spans = rows.sequences()
    lengths = np.diff(np.searchsorted(np.flatnonzero(rows.day <= last_day), spans, side='left'))[:, 0]
    spans = np.stack([spans[:, 0], spans[:, 0] + lengths], axis=1)[lengths > 0]
    if share < 1:
        spans = spans[generator.random(len(spans)) < share]
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


def inputs_at(model, rows: Sequences, at: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(rows.windows(at) if model.kind == 'window' else rows.x[at])


@torch.no_grad()
def score(model, rows: Sequences, at: np.ndarray) -> np.ndarray:
    """Probabilities [len(at)]. A recurrent model runs each sequence from its first row, as the stream does."""
    model.eval()
    if model.kind != 'recurrent':
        parts = [torch.sigmoid(model(inputs_at(model, rows, at[i:i + 8192]))).numpy() for i in range(0, len(at), 8192)]
        return np.concatenate(parts)
    every = np.zeros(len(rows), dtype=np.float32)
    for sequences in batches_of_sequences(rows, 500, int(rows.day[at].max())):
        h = torch.zeros(len(sequences), model.hidden)
        for index, real in chunks(sequences, 128):
            logits, h = model.unroll(torch.from_numpy(rows.x[index]), h)
            every[index[real > 0]] = torch.sigmoid(logits).numpy()[real > 0]
    return every[at]
