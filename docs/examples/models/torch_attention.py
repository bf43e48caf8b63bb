"""A PyTorch attention model over a card's last 16 authorisations, as ONNX: time before batch, a padding mask, zeros at the end.

    python torch_attention.py rows.parquet models/auth-attention/1
"""
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from example_rows import CHANNELS, MERCHANTS, NUMBERS, WINDOW, Rows, report, seal, write_golden


class Attention(nn.Module):
    def __init__(self, mean: torch.Tensor, std: torch.Tensor, width: int = 16):
        super().__init__()
        self.register_buffer('mean', mean)
        self.register_buffer('std', std)
        self.channel = nn.Embedding(len(CHANNELS) + 1, 3)
        self.merchant = nn.Embedding(len(MERCHANTS) + 1, 3)
        self.into = nn.Linear(len(NUMBERS) + 6, width)
        self.own = nn.Linear(len(NUMBERS), width)
        self.position = nn.Parameter(torch.randn(WINDOW, 1, width) * 0.1)
        self.attention = nn.MultiheadAttention(width, 2)
        self.out = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, x, channel, merchant, padding, last):
        """x [W, B, 7], channel and merchant [W, B], padding [B, W] (true = no event there), last [B, 7] -> logit [B, 1]"""
        embedded = torch.cat([(x - self.mean) / self.std, self.channel(channel), self.merchant(merchant)], dim=2)
        hidden = torch.tanh(self.into(embedded)) + self.position
        seen, _ = self.attention(hidden, hidden, hidden, key_padding_mask=padding, need_weights=False)
        real = (~padding).float().T[:, :, None]
        pooled = (seen * real).sum(0) / real.sum(0)
        return self.out(torch.cat([pooled, torch.tanh(self.own((last - self.mean) / self.std))], dim=1))


def main(file: str, folder: Path) -> None:
    torch.manual_seed(7)
    rows = Rows(file)
    x, lengths = rows.windows(rows.numbers, 'right')
    channel, _ = rows.windows(rows.channel, 'right')
    merchant, _ = rows.windows(rows.merchant, 'right')
    inputs = [torch.from_numpy(each).transpose(0, 1).contiguous() for each in (x, channel, merchant)]
    inputs += [torch.from_numpy(np.arange(WINDOW)[None] >= lengths[:, None]), torch.from_numpy(rows.numbers)]
    batch_axis = (1, 1, 1, 0, 0)
    pick = lambda at: [each.index_select(axis, at) for each, axis in zip(inputs, batch_axis)]
    train = torch.from_numpy(np.flatnonzero(rows.train))
    model = Attention(torch.from_numpy(rows.numbers[rows.train].mean(0)), torch.from_numpy(rows.numbers[rows.train].std(0) + 1e-3))
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(6.0))
    labels = torch.from_numpy(rows.is_fraud)
    for epoch in range(12):
        total = 0.0
        for at in train[torch.randperm(len(train))].split(256):
            optimiser.zero_grad()
            step = loss(model(*pick(at))[:, 0], labels[at])
            step.backward()
            optimiser.step()
            total += step.item() * len(at)
        print(f'epoch {epoch + 1}: loss {total / len(train):.4f}')
    model.eval()
    torch.backends.mha.set_fastpath_enabled(False)  # the exporter knows the plain operators, not the fused one
    with torch.no_grad():
        scores = torch.cat([torch.sigmoid(model(*pick(at))[:, 0]) for at in torch.arange(len(labels)).split(1024)]).numpy()
    report('auth-attention', rows, scores)
    folder.mkdir(parents=True, exist_ok=True)
    names = ['x', 'channel', 'merchant', 'padding', 'last']
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # the newer exporter wants another package
        torch.onnx.export(
            model, tuple(pick(torch.arange(2))), folder / 'model.onnx', dynamo=False, opset_version=17, input_names=names, output_names=['logit'],
            dynamic_axes={**{name: {axis: 'batch'} for name, axis in zip(names, batch_axis)}, 'logit': {0: 'batch'}},
        )
    write_golden(folder, rows, scores, [*NUMBERS, 'channel', 'merchant'], f'PyTorch {torch.__version__.split("+")[0]}', 1e-5)
    seal(folder)


if __name__ == '__main__':
    main(sys.argv[1], Path(sys.argv[2]))
