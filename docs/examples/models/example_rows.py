"""Rows of `harrier features` as numpy arrays, windows over them, and golden rows: shared by the four examples."""
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

WINDOW = 16
NUMBERS = ['log_amount', 'hour_sin', 'hour_cos', 'night', 'count_1d', 'ratio_7d', 'log_since']
CHANNELS = ['CHIP', 'CONTACTLESS', 'ECOM', 'ATM']
MERCHANTS = [5411, 5812, 5541, 6011, 5732, 7995]
GOLDEN_CARDS, GOLDEN_EVENTS = 4, 24  # more events than the window, so that full and padded windows both occur


class Rows:
    """Events in the order of cards, then time: numbers [N, 7], channel and merchant [N] (0 = unknown), is_fraud [N], place in the card's history [N]."""

    def __init__(self, file: str):
        table = pq.read_table(file).to_pydict()
        order = np.lexsort((np.array(table['event_time']), np.array(table['entity'])))
        column = lambda name: np.array(table[name])[order]
        self.card = column('entity')
        self.numbers = np.stack([column(name) for name in NUMBERS], axis=1).astype(np.float32)
        self.channel = column('channel').astype(np.int64)
        self.merchant = column('merchant').astype(np.int64)
        self.is_fraud = column('is_fraud').astype(np.float32)
        first = np.r_[True, self.card[1:] != self.card[:-1]]
        begins = np.flatnonzero(first)
        self.place = np.arange(len(first)) - np.repeat(begins, np.diff(np.r_[begins, len(first)]))
        # of every four cards, three are for training
        self.train = np.array([int(hashlib.sha256(card.encode()).hexdigest(), 16) % 4 != 0 for card in self.card])

    def windows(self, values: np.ndarray, padding: str = 'left') -> tuple[np.ndarray, np.ndarray]:
        """[N, ...] -> [N, WINDOW, ...], each event with those before it of its card, zeros where there are none; and how many are real."""
        out = np.zeros((len(values), WINDOW, *values.shape[1:]), dtype=values.dtype)
        lengths = np.minimum(self.place + 1, WINDOW)
        for i, length in enumerate(lengths):
            at = WINDOW - length if padding == 'left' else 0
            out[i, at:at + length] = values[i + 1 - length:i + 1]
        return out, lengths.astype(np.int64)

    def golden_cards(self) -> list[np.ndarray]:
        """Positions of the first events of some cards that no model was trained on, with fraud among them."""
        held_out = [card for card in dict.fromkeys(self.card[~self.train])]
        events = {card: np.flatnonzero(self.card == card)[:GOLDEN_EVENTS] for card in held_out}
        long = [card for card in held_out if len(events[card]) == GOLDEN_EVENTS]
        long.sort(key=lambda card: -self.is_fraud[events[card]].sum())
        return [events[card] for card in long[:GOLDEN_CARDS]]


def report(name: str, rows: Rows, scores: np.ndarray) -> None:
    """Prints the average precision on the cards that were held out."""
    order = np.argsort(-scores[~rows.train])
    hits = rows.is_fraud[~rows.train][order]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    print(f'{name}: average precision {np.sum(precision * hits) / hits.sum():.3f} on {len(hits)} events of held-out cards, {int(hits.sum())} of them fraud')


def write_golden(folder: Path, rows: Rows, scores: np.ndarray, features: list[str], source: str, tolerance: float) -> None:
    """golden.json: rows as the engine sees them, categories by their values, and the scores of the framework itself."""
    index = [NUMBERS.index(name) if name in NUMBERS else None for name in features]

    def value(i: int, feature: int):
        if features[feature] == 'channel':
            return CHANNELS[rows.channel[i] - 1] if rows.channel[i] > 0 else None
        if features[feature] == 'merchant':
            return MERCHANTS[rows.merchant[i] - 1] if rows.merchant[i] > 0 else None
        return float(np.format_float_positional(rows.numbers[i, index[feature]], unique=True))

    sequences = []
    for positions in rows.golden_cards():
        lines = ',\n   '.join(json.dumps([value(i, f) for f in range(len(features))]) for i in positions)
        numbers = ', '.join(np.format_float_positional(np.float32(scores[i]), unique=True, trim='0') for i in positions)
        sequences.append(f'{{"rows": [\n   {lines}],\n  "scores": [{numbers}]}}')
    head = f'"source": {json.dumps(source)}, "tolerance": {tolerance},\n "features": {json.dumps(features)}'
    (folder / 'golden.json').write_text(f'{{{head},\n "sequences": [\n  ' + ',\n  '.join(sequences) + '\n ]}\n')


def seal(folder: Path) -> None:
    """Writes the file's sha256 into a model.yaml that is there already."""
    manifest = folder / 'model.yaml'
    digest = hashlib.sha256((folder / 'model.onnx').read_bytes()).hexdigest()
    if manifest.exists():
        manifest.write_text(re.sub(r'^sha256: \w+$', f'sha256: {digest}', manifest.read_text(), flags=re.M))
    print(f'{folder}/model.onnx  {(folder / "model.onnx").stat().st_size} bytes  sha256 {digest}')
