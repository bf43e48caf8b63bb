"""The four networks. Each `forward` is exactly what is exported: from raw feature rows to a probability.

Choices that come from the engine and not from taste:
- Normalisation is part of the graph, so that a model file cannot meet rows that were scaled otherwise.
- Only Gemm, MatMul, Softmax and element-wise operators: the GRU operator is refused by onnxruntime's WebGPU provider.
- What stands right in a Gemm or MatMul is constant or belongs to one row, and there is no Log: so bits do not depend on the batch size (see README).
"""
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rows import WINDOW

HIDDEN = 64
CLAMP = 10.0   # standard deviations; a row beyond it is as surprising as one at it
MASKED = -1e4  # added to attention logits of padding; far below any real one, still finite in float16


class Normalise(nn.Module):
    """z = clamp((x - mean) / sd), with the training rows' mean and standard deviation of each feature.

    Skewed values come as logarithms already (`log_amount`, `log_since`). A logarithm in the graph would cost the equality of
    bits across batch sizes: onnxruntime's Log rounds differently in a vector register and in the scalar tail.
    """

    def __init__(self, x: np.ndarray):
        super().__init__()
        x = x.astype(np.float64)
        self.register_buffer('mean', torch.tensor(x.mean(axis=0), dtype=torch.float32))
        self.register_buffer('scale', torch.tensor(1 / np.maximum(x.std(axis=0), 1e-6), dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean) * self.scale).clamp(-CLAMP, CLAMP)


def real_rows(x: Tensor) -> Tensor:
    """[B, W, F] -> [B, W, 1]: 1 for a row, 0 for padding. Padding is all zeros; a row is not (hour_sin and hour_cos never both vanish)."""
    return (x.abs().amax(dim=2, keepdim=True) > 0).to(x.dtype)


def gru_step(gru: nn.GRU, z: Tensor, h: Tensor) -> Tensor:
    """z [B, E], h [B, H] -> the next h [B, H]: one step of `gru`, of the operators that every provider runs."""
    hidden = gru.hidden_size
    from_x = F.linear(z, gru.weight_ih_l0, gru.bias_ih_l0)
    from_h = F.linear(h, gru.weight_hh_l0, gru.bias_hh_l0)
    x_gates, x_new = from_x.split([2 * hidden, hidden], dim=1)
    h_gates, h_new = from_h.split([2 * hidden, hidden], dim=1)
    reset, update = torch.sigmoid(x_gates + h_gates).split([hidden, hidden], dim=1)
    new = torch.tanh(x_new + reset * h_new)
    return new + update * (h - new)


def attend(query: Tensor, rows: Tensor, real: Tensor, value: nn.Linear) -> Tensor:
    """query [B, H * D], rows [B, W, D], real [B, W, 1] -> [B, D]: what the heads of the newest row see in the window."""
    width = value.out_features
    heads = value.in_features // width
    logits = query.reshape(-1, heads, width) @ rows.transpose(1, 2) * width ** -0.5  # [B, H, W]
    weights = torch.softmax(logits + (1 - real).transpose(1, 2) * MASKED, dim=2)
    return torch.relu(value((weights @ rows).reshape(-1, heads * width)))


def convolve(z: Tensor, conv1: nn.Linear, conv2: nn.Linear, conv3: nn.Linear) -> Tensor:
    """z [B, 32, F] -> [B, D]: kernels of 4, 2 and 4 rows, each with a stride of its own length."""
    y = torch.relu(conv1(z.reshape(-1, 8, conv1.in_features)))
    y = torch.relu(conv2(y.reshape(-1, 4, conv2.in_features)))
    return torch.relu(conv3(y.reshape(-1, conv3.in_features)))


class RowModel(nn.Module):
    """x [B, F] -> logit [B]: a small perceptron on the newest row alone, the baseline."""

    kind = 'row'

    def __init__(self, normalise: Normalise, features: int):
        super().__init__()
        self.normalise = normalise
        self.net = nn.Sequential(nn.Linear(features, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.normalise(x)).squeeze(1)


class GruModel(nn.Module):
    """One step: x [B, F], h [B, 64] -> logit [B], h_next [B, 64]. The head also sees the row itself."""

    kind = 'recurrent'
    hidden = HIDDEN

    def __init__(self, normalise: Normalise, features: int):
        super().__init__()
        self.normalise = normalise
        self.gru = nn.GRU(features, HIDDEN, batch_first=True)
        self.head = nn.Sequential(nn.Linear(HIDDEN + features, 32), nn.ReLU(), nn.Linear(32, 1))

    def unroll(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, T, F], h [B, 64] -> logits [B, T], h after the last step. For training; equal to T calls of `forward`."""
        z = self.normalise(x)
        states, last = self.gru(z, h.unsqueeze(0))
        return self.head(torch.cat([states, z], dim=2)).squeeze(2), last.squeeze(0)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        z = self.normalise(x)
        h_next = gru_step(self.gru, z, h)
        return self.head(torch.cat([h_next, z], dim=1)).squeeze(1), h_next


class AttentionModel(nn.Module):
    """x [B, W, F] -> logit [B]: one causal self-attention block, computed for the newest row only.

    With one block, only the newest row's output is read, and causality lets it see the whole window; so there is one query
    for each head. The query is mapped straight into the space of the keys' inputs (query and key weights as one matrix),
    which makes the block about ten times cheaper than projecting keys and values for 32 rows.
    """

    kind = 'window'

    def __init__(self, normalise: Normalise, features: int, width: int = 32, heads: int = 4):
        super().__init__()
        self.normalise = normalise
        self.embed = nn.Linear(features, width)
        self.position = nn.Parameter(torch.randn(WINDOW, width) * 0.02)
        self.query = nn.Linear(width, heads * width)
        self.value = nn.Linear(heads * width, width)
        self.head = nn.Sequential(nn.Linear(2 * width + features, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        real = real_rows(x)
        z = self.normalise(x)
        rows = torch.relu(self.embed(z) + self.position)  # [B, W, D]
        newest = rows[:, -1]
        context = attend(self.query(newest), rows, real, self.value)
        return self.head(torch.cat([context, newest, z[:, -1]], dim=1)).squeeze(1)


class CnnModel(nn.Module):
    """x [B, W, F] -> logit [B]: three convolutions over the window, aligned to end on the newest row.

    Each stride equals its kernel, so a convolution is a matrix product over reshaped rows: what Conv1d computes, without
    unfolding each window first, which costs more than the product. The head also sees the newest row itself.
    """

    kind = 'window'

    def __init__(self, normalise: Normalise, features: int, width: int = 32):
        super().__init__()
        self.normalise = normalise
        self.conv1 = nn.Linear(4 * features, width)  # kernel 4: 32 rows -> 8
        self.conv2 = nn.Linear(2 * width, width)     # kernel 2: 8 -> 4
        self.conv3 = nn.Linear(4 * width, width)     # kernel 4: 4 -> 1
        self.head = nn.Sequential(nn.Linear(width + features, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        z = self.normalise(x) * real_rows(x)
        y = convolve(z, self.conv1, self.conv2, self.conv3)
        return self.head(torch.cat([y, z[:, -1]], dim=1)).squeeze(1)


MODELS = {'card-gru': GruModel, 'card-attention': AttentionModel, 'card-cnn': CnnModel, 'card-row': RowModel}


class Scorer(nn.Module):
    """The exported form of a model: the same inputs, a probability instead of a logit; `scale` times that for a model that has one."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor):
        out = self.model(*inputs)
        if isinstance(out, tuple):
            return torch.sigmoid(out[0]), *out[1:]
        scale = getattr(self.model, 'scale', None)
        return torch.sigmoid(out) if scale is None else torch.sigmoid(out) * scale


def parameter_count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
