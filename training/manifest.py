"""model.yaml: what the engine needs to know about a model, and what a person wants to know."""
from __future__ import annotations

import re
from pathlib import Path

import yaml

from rows import WINDOW

DESCRIPTIONS = {
    'card-gru': 'GRU that carries 64 floats for each card: one step for each payment, the history in the state.',
    'card-attention': 'Self-attention over the last 32 payments of a card, four heads, the newest payment asks.',
    'card-cnn': 'Three causal convolutions over the last 32 payments of a card.',
    'card-row': 'Small perceptron on the newest payment\'s features alone: the baseline and the fall-back.',
    'card-terminal': 'GRU that carries 32 floats for each terminal; each step sees the card\'s features and score and what is known of the terminal.',
    'terminal-attention': 'Self-attention over the last 32 payments on a terminal, four heads, the newest payment asks.',
    'terminal-cnn': 'Three causal convolutions over the last 32 payments on a terminal.',
    'terminal-row': 'Small perceptron on the newest payment\'s features of card and terminal: the baseline and the fall-back.',
    'account-risk': 'Self-attention over a customer\'s last 32 days, four heads, the newest day asks: how likely is a fraud within seven days.',
    'account-loss': 'The same network, asked what the frauds of the next seven days will cost, in the currency of the payments.',
    'account-row': 'Logistic regression on the newest day\'s features alone: the baseline and the fall-back.',
    'terminal-boost': 'Gradient boosted trees on the newest payment\'s features of card and terminal.',
}
USES = {
    'card': 'rank simulated card payments for review as they are made, from the history of the card alone',
    'terminal': 'rank simulated card payments for review as they are made, where labels of earlier frauds come',
    'account': 'rank simulated customers for review at the end of each day, and after a payment that looks like fraud',
}
BATCH_ROWS_MAX = {'row': 2048, 'recurrent': 2048, 'window': 512}


def card(name: str, metrics: dict) -> dict:
    """What a model card says of who it is for and where it is weak; figures are those of the held-out days."""
    family = 'account' if name.startswith('account') else 'card' if name in ('card-gru', 'card-attention', 'card-cnn', 'card-row') else 'terminal'
    limits = ['learnt from payments of a simulator, which are simpler than those of people: not for decisions about real payments']
    review = metrics.get('thresholds', {}).get('review')
    if review:
        found = [f'{100 * review[f"recallScenario{n}"]:.1f} % of {what}' for n, what in ((1, 'large amounts'), (2, 'frauds on taken-over terminals'), (3, 'misused cards'))]
        limits.append(f'at the review threshold {review["threshold"]} it finds {", ".join(found)}; {100 * (1 - review["precision"]):.0f} % of its alerts are no fraud')
    if family == 'card':
        limits.append('blind to what happens on a terminal: it does not see what other cards did there')
    if family == 'terminal':
        limits.append('leans on frauds that have become known on the terminal: without labels, or with later ones than in training, it finds fewer')
    if name == 'account-loss':
        limits.append('its score is an amount, not a probability: no threshold of a policy fits it, so it is for shadows')
    if name.endswith('-row'):
        limits.append('sees the newest row alone, no sequence')
    limits.append('amounts in one currency; drift of behaviour was not studied beyond the held-out weeks')
    return {'owner': 'the Harrier project', 'licence': 'Apache-2.0', 'intendedUse': ['show, test and measure Harrier', USES[family]], 'limits': limits}


def manifest(name: str, kind: str, hidden: int, features: list[str], sha256: str, training: dict, metrics: dict, meaning: str = 'probability') -> dict:
    inputs, outputs = [{'name': 'x', 'what': 'features'}], [{'name': 'score', 'what': 'score'}]
    body: dict = {'name': name, 'version': 1, 'kind': kind, 'description': DESCRIPTIONS[name], 'file': 'model.onnx', 'sha256': sha256, 'features': features}
    if kind == 'window':
        body |= {'window': WINDOW, 'layout': 'batch-major'}
    if kind == 'recurrent':
        inputs.append({'name': 'h', 'what': 'state:0'})
        outputs.append({'name': 'h_next', 'what': 'next-state:0'})
    body |= {'inputs': inputs, 'outputs': outputs}
    if kind == 'recurrent':
        body['states'] = [{'shape': [hidden]}]
    return body | {
        'score': {'meaning': meaning}, 'normalisation': 'in-graph', 'limits': {'batchRowsMax': BATCH_ROWS_MAX[kind]},
        'card': card(name, metrics), 'training': training, 'metrics': metrics,
    }


def write_manifest(folder: Path, body: dict) -> None:
    text = '# Written by training/train.py together with model.onnx. Edit limits if you must; a new model is a new version.\n'
    text += yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=140, default_flow_style=None)
    file = folder / 'model.yaml'
    reasons = re.search(r'^reasons:\n(?:[ -].*\n)+', file.read_text(), re.MULTILINE) if file.exists() else None
    if reasons:  # written by hand: they stay
        text = text.replace('\ntraining:\n', f'\n{reasons.group(0)}training:\n', 1)
    file.write_text(text)
