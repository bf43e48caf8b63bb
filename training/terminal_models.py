"""The networks of card-terminal. Each `forward` is exactly what is exported: from raw feature rows to a logit (the file gives a probability).

What models.py says of the engine's demands holds here too. These see 40 features, many of them ages and counts of known frauds.
"""
from __future__ import annotations

import numpy as np
import torch
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor, nn

from models import Normalise, attend, convolve, gru_step, real_rows
from rows import WINDOW

RAMPS, STEPS = 8, 4
KNOT_ROWS = 40_000


class Piecewise(nn.Module):
    """x [B, F] -> [B, E]: each feature as ramps clamp((x - low) / width, 0, 1) between quantiles, and as steep ramps at the splits of a small tree.

    Networks on plain features miss sharp limits (an amount of 220, the 28th day of a compromise) that trees find at once. Frauds
    weigh as much as genuine rows in the choice of the limits, else all of them would lie among the genuine rows.
    """

    def __init__(self, x: np.ndarray, fraud: np.ndarray, ramps: int = RAMPS, steps: int = STEPS):
        super().__init__()
        generator = np.random.default_rng(0)
        genuine, bad = np.flatnonzero(fraud == 0), np.flatnonzero(fraud > 0)
        at = np.concatenate([generator.choice(genuine, min(KNOT_ROWS, len(genuine)), replace=False), generator.choice(bad, KNOT_ROWS // 2)])
        y = fraud[at] > 0
        column, low, width = [], [], []
        for j in range(x.shape[1]):
            v = x[at, j].astype(np.float64)
            knots = np.unique(np.quantile(v, np.linspace(0, 1, ramps + 1)))
            for a, b in zip(knots, knots[1:]):
                column.append(j), low.append(a), width.append(b - a)
            tree = DecisionTreeClassifier(max_leaf_nodes=steps + 1, min_samples_leaf=200, class_weight='balanced', random_state=0).fit(v[:, None], y).tree_
            steep = max(0.02 * v.std(), 1e-6)
            for split in sorted(tree.threshold[tree.children_left >= 0]):
                column.append(j), low.append(split - steep / 2), width.append(steep)
        self.register_buffer('column', torch.tensor(column))
        self.register_buffer('low', torch.tensor(np.array(low), dtype=torch.float32))
        self.register_buffer('slope', torch.tensor(1 / np.array(width), dtype=torch.float32))
        self.size = len(column)

    def forward(self, x: Tensor) -> Tensor:
        return ((torch.index_select(x, -1, self.column) - self.low) * self.slope).clamp(0.0, 1.0)


class LinearModel(nn.Module):
    """x [B, F] -> logit [B]: logistic regression on the ramps."""

    kind = 'row'

    def __init__(self, x: np.ndarray, fraud: np.ndarray):
        super().__init__()
        self.ramps = Piecewise(x, fraud)
        self.out = nn.Linear(self.ramps.size, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.ramps(x)).squeeze(1)


class RowModel(nn.Module):
    """x [B, F] -> logit [B]: a small perceptron on the newest row alone."""

    kind = 'row'

    def __init__(self, x: np.ndarray, fraud: np.ndarray, width: int = 48):
        super().__init__()
        self.ramps = Piecewise(x, fraud)
        self.net = nn.Sequential(nn.Linear(self.ramps.size, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, 24), nn.ReLU(), nn.Linear(24, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.ramps(x)).squeeze(1)


class GruModel(nn.Module):
    """One step: x [B, F], h [B, H] -> logit [B], h_next [B, H]. The head also sees the row itself."""

    kind = 'recurrent'

    def __init__(self, x: np.ndarray, fraud: np.ndarray, hidden: int = 48, width: int = 48):
        super().__init__()
        self.hidden = hidden
        self.ramps = Piecewise(x, fraud)
        self.embed = nn.Linear(self.ramps.size, width)
        self.gru = nn.GRU(width, hidden, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(hidden + width, 32), nn.ReLU(), nn.Linear(32, 1))

    def unroll(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, T, F], h [B, H] -> logits [B, T], h after the last step. For training; equal to T calls of `forward`."""
        z = torch.relu(self.embed(self.ramps(x)))
        states, last = self.gru(z, h.unsqueeze(0))
        return self.head(torch.cat([states, z], dim=2)).squeeze(2), last.squeeze(0)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.relu(self.embed(self.ramps(x)))
        h_next = gru_step(self.gru, z, h)
        return self.head(torch.cat([h_next, z], dim=1)).squeeze(1), h_next


class AttentionModel(nn.Module):
    """x [B, W, F] -> logit [B]: the block of models.AttentionModel. The head also sees the ramps of the newest row."""

    kind = 'window'

    def __init__(self, x: np.ndarray, fraud: np.ndarray, width: int = 32, heads: int = 4):
        super().__init__()
        self.normalise, self.ramps = Normalise(x), Piecewise(x, fraud)
        self.embed = nn.Linear(x.shape[1], width)
        self.position = nn.Parameter(torch.randn(WINDOW, width) * 0.02)
        self.query = nn.Linear(width, heads * width)
        self.value = nn.Linear(heads * width, width)
        self.newest = nn.Linear(self.ramps.size, width)
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(3 * width, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        real = real_rows(x)
        rows = torch.relu(self.embed(self.normalise(x)) + self.position)  # [B, W, D]
        newest = rows[:, -1]
        context = attend(self.query(newest), rows, real, self.value)
        return self.head(torch.cat([context, newest, torch.relu(self.newest(self.ramps(x[:, -1])))], dim=1)).squeeze(1)


class CnnModel(nn.Module):
    """x [B, W, F] -> logit [B]: the convolutions of models.CnnModel. The head also sees the ramps of the newest row."""

    kind = 'window'

    def __init__(self, x: np.ndarray, fraud: np.ndarray, width: int = 32):
        super().__init__()
        self.normalise, self.ramps = Normalise(x), Piecewise(x, fraud)
        self.conv1 = nn.Linear(4 * x.shape[1], width)  # kernel 4: 32 rows -> 8
        self.conv2 = nn.Linear(2 * width, width)       # kernel 2: 8 -> 4
        self.conv3 = nn.Linear(4 * width, width)       # kernel 4: 4 -> 1
        self.newest = nn.Linear(self.ramps.size, width)
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(2 * width, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        z = self.normalise(x) * real_rows(x)
        y = convolve(z, self.conv1, self.conv2, self.conv3)
        return self.head(torch.cat([y, torch.relu(self.newest(self.ramps(x[:, -1])))], dim=1)).squeeze(1)


