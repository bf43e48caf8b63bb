"""Golden scores: sequences of feature rows of a few entities with the training framework's scores, for the engine's tests."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from export import session
from rows import WINDOW, Sequences

ENTITIES = 24
BESIDE = 3         # sequences that are kept beside the model
EVENTS = 40        # more than the window, so that full and padded windows both occur
TOLERANCE = 1e-5   # absolute, on a probability: PyTorch and onnxruntime sum in different orders


def choose(rows: Sequences, test: np.ndarray, scenarios: tuple[int, ...], seed: int, entities: int = ENTITIES) -> np.ndarray:
    """[entities, EVENTS] positions in the test days `test`: half of the sequences hold a fraud of these scenarios."""
    generator = np.random.default_rng(seed)
    ends = {int(e): i for i, e in enumerate(rows.sequences()[:, 1])}
    end_of = np.array(sorted(ends))
    def room(at: np.ndarray) -> np.ndarray:
        return at[end_of[np.searchsorted(end_of, at, side='right')] - at >= EVENTS]
    obvious = room(test[np.isin(rows.scenario[test], scenarios)] - EVENTS // 2)
    anywhere = room(test)
    chosen, seen = [], set()
    for pool, wanted in ((obvious, entities // 2), (anywhere, entities)):
        for begin in generator.permutation(pool):
            entity = int(rows.entity[begin])
            if len(chosen) < wanted and entity not in seen and rows.entity[begin + EVENTS - 1] == entity and rows.first[begin] == rows.first[begin + EVENTS - 1]:
                chosen.append(begin)
                seen.add(entity)
    return np.array(chosen)[:, None] + np.arange(EVENTS)[None, :]


def write_rows(rows: Sequences, at: np.ndarray, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for sequence in at:
        values = ',\n  '.join('[' + ','.join(shortest(v) for v in rows.x[i]) + ']' for i in sequence)
        lines.append(f'{{"entity": {json.dumps(str(rows.entity_names[rows.entity[sequence[0]]]))}, "firstEvent": {json.dumps(str(rows.event_id[sequence[0]]))}, "rows": [\n  {values}]}}')
    text = f'{{"features": {json.dumps(rows.names)},\n "sequences": [\n' + ',\n'.join(lines) + '\n]}\n'
    file.write_text(text)


def write_scores(model, name: str, sha256: str, rows: Sequences, at: np.ndarray, folder: Path) -> None:
    """The framework's scores of the golden rows, with the sha256 of the file that must reproduce them."""
    scores = ',\n  '.join('[' + ','.join(shortest(v) for v in sequence) + ']' for sequence in sequence_scores(model, rows, at, None))
    folder.mkdir(parents=True, exist_ok=True)
    head = f'"model": "{name}@1", "sha256": "{sha256}", "kind": "{model.kind}", "source": "{source_of(model)}", "tolerance": {tolerance_of(model):g}'
    (folder / f'{name}.json').write_text(f'{{{head},\n "scores": [\n  {scores}]}}\n')


def write_beside(model, rows: Sequences, at: np.ndarray, file: Path) -> None:
    """golden.json beside the model file, for `harrier models test`: some of the sequences, whole."""
    parts = []
    for sequence, scores in zip(at, sequence_scores(model, rows, at, None)):
        lines = ',\n   '.join('[' + ','.join(shortest(v) for v in rows.x[i]) + ']' for i in sequence)
        parts.append(f'{{"rows": [\n   {lines}],\n  "scores": [{", ".join(shortest(v) for v in scores)}]}}')
    head = f'"source": "{source_of(model)}", "tolerance": {tolerance_of(model):g},\n "features": {json.dumps(rows.names)}'
    (file.parent / 'golden.json').write_text(f'{{{head},\n "sequences": [\n  ' + ',\n  '.join(parts) + '\n ]}\n')


def check(model, rows: Sequences, at: np.ndarray, file: Path) -> float:
    """The largest difference between the training framework's and onnxruntime's scores of the golden rows; over the tolerance it ends the run."""
    difference = float(np.abs(sequence_scores(model, rows, at, None) - sequence_scores(model, rows, at, session(file))).max())
    if difference > tolerance_of(model):
        raise SystemExit(f'{file}: onnxruntime differs from {source_of(model)} by {difference:.1e}')
    return difference


@torch.no_grad()
def sequence_scores(model, rows: Sequences, at: np.ndarray, run) -> np.ndarray:
    """[S, T] scores, each sequence begun with nothing before it: an empty hidden state, an empty window. By the training framework if `run` is None."""
    if not isinstance(model, torch.nn.Module) and run is None:
        return model.probabilities(rows.x[at.ravel()]).reshape(at.shape)
    if run is None:
        model.eval()
    x = rows.x[at]
    scores = np.zeros(at.shape, dtype=np.float32)
    h = np.zeros((len(at), getattr(model, 'hidden', 1)), dtype=np.float32)
    for t in range(at.shape[1]):
        if model.kind == 'window':
            window = np.zeros((len(at), WINDOW, x.shape[2]), dtype=np.float32)
            history = x[:, max(0, t + 1 - WINDOW):t + 1]
            window[:, WINDOW - history.shape[1]:] = history
            inputs = [window]
        else:
            inputs = [np.ascontiguousarray(x[:, t])] + ([h] if model.kind == 'recurrent' else [])
        if run is None:
            out = model(*(torch.from_numpy(i) for i in inputs))
            logit, *states = out if isinstance(out, tuple) else (out,)
            outputs = [(torch.sigmoid(logit) * getattr(model, 'scale', 1)).numpy(), *(s.numpy() for s in states)]
        else:
            outputs = run.run(None, dict(zip(('x', 'h'), inputs)))
        scores[:, t] = outputs[0]
        if model.kind == 'recurrent':
            h = outputs[1]
    return scores


def tolerance_of(model) -> float:
    return TOLERANCE * getattr(model, 'scale', 1)


def source_of(model) -> str:
    return f'PyTorch {torch.__version__.split("+")[0]}' if isinstance(model, torch.nn.Module) else f'{model.source} {model.version}'


def shortest(value: np.float32) -> str:
    """The shortest decimal that reads back as the same float32."""
    text = np.format_float_positional(value, unique=True, trim='-') if value == 0 or 1e-4 <= abs(value) < 1e16 else np.format_float_scientific(value, unique=True, trim='-')
    return text.replace('e+', 'e')
