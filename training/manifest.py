"""model.yaml: what the engine needs to know about a model, and what a person wants to know."""
from __future__ import annotations

from pathlib import Path

import yaml

from models import HIDDEN
from rows import WINDOW

DESCRIPTIONS = {
    'card-gru': 'GRU that carries 64 floats for each card: one step for each payment, the history in the state.',
    'card-attention': 'Self-attention over the last 32 payments of a card, four heads, the newest payment asks.',
    'card-cnn': 'Three causal convolutions over the last 32 payments of a card.',
    'card-row': 'Small perceptron on the newest payment\'s features alone: the baseline and the fall-back.',
}
BATCH_ROWS_MAX = {'row': 2048, 'recurrent': 2048, 'window': 512}


def manifest(name: str, kind: str, features: list[str], sha256: str, training: dict, metrics: dict) -> dict:
    inputs, outputs = [{'name': 'x', 'what': 'features'}], [{'name': 'score', 'what': 'score'}]
    body: dict = {'name': name, 'version': 1, 'kind': kind, 'description': DESCRIPTIONS[name], 'file': 'model.onnx', 'sha256': sha256, 'features': features}
    if kind == 'window':
        body |= {'window': WINDOW, 'layout': 'batch-major'}
    if kind == 'recurrent':
        inputs.append({'name': 'h', 'what': 'state:0'})
        outputs.append({'name': 'h_next', 'what': 'next-state:0'})
    body |= {'inputs': inputs, 'outputs': outputs}
    if kind == 'recurrent':
        body['states'] = [{'shape': [HIDDEN]}]
    return body | {
        'score': {'meaning': 'probability'}, 'normalisation': 'in-graph', 'limits': {'batchRowsMax': BATCH_ROWS_MAX[kind]},
        'training': training, 'metrics': metrics,
    }


def write_manifest(folder: Path, body: dict) -> None:
    text = '# Written by training/train.py together with model.onnx. Edit limits if you must; a new model is a new version.\n'
    text += yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=140, default_flow_style=None)
    (folder / 'model.yaml').write_text(text)
