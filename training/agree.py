"""Do the stream and the offline way give the same scores? One test week, three ways, for each model of card-terminal:

1. a run on Kafka: `harrier simulate` to two topics of one partition, `harrier run`, scored events read back as committed readers see them;
2. `harrier features` on the same transactions as a table, then onnxruntime in Python;
3. the same rows through PyTorch's kernels (not for trees).

1 and 2 must have the same bits, 3 must be within TOLERANCE. Brokers: HARRIER_BROKERS and HARRIER_REGISTRY, else the local stack (`harrier stack up`).

    python training/agree.py --terminal-rows terminal-rows.parquet [--figures training/agreement.json]
"""
from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import yaml

from events import FIRST_DAY, View, read
from export import session
from rows import DAY_MS, as_ms, feature_columns, text
from torch_graph import TorchGraph

TOLERANCE = 1e-5      # absolute, on a probability: PyTorch and onnxruntime sum in different orders
IDLE_LINES = 20       # seconds without a new record, after which the run has scored everything
ROOT = Path(__file__).parent.parent
HARRIER = ['node', str(ROOT / 'bin' / 'harrier.js')]
TOPOLOGY = ROOT / 'topologies' / 'card-terminal.yaml'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--terminal-rows', type=Path, required=True, help='Parquet file of `harrier features` of card-terminal\'s last stage')
    parser.add_argument('--first-day', type=int, default=129, help='first day of the week, 0 being 2018-04-01 (default: 129, 2018-08-08)')
    parser.add_argument('--namespace', default=f'agree-{int(time.time())}', help='goes before the names of topics')
    parser.add_argument('--scored', type=Path, help='scored events of an earlier run, as training/scored.js prints them, instead of a run')
    parser.add_argument('--figures', type=Path, default=ROOT / 'training' / 'agreement.json')
    options = parser.parse_args()
    end = options.first_day + 7
    streamed, seconds = (read_scored(options.scored), None) if options.scored else stream(options.namespace, end)

    table = read(options.terminal_rows)
    day = as_ms(table['event_time']) // DAY_MS - (np.datetime64(FIRST_DAY) - np.datetime64('1970-01-01')).astype(int)
    before = np.flatnonzero(day < end)
    if len(streamed) != len(before):
        raise SystemExit(f'{len(streamed):,} scored events, {len(before):,} rows')
    rows = Offline(table, feature_columns(table.schema), before, day)
    week = np.flatnonzero(day[before] >= options.first_day)
    ids = text(table, 'event_id')[before]
    result = {'days': f'{date_of(options.first_day)}..{date_of(end - 1)}', 'payments': len(week), 'eventsStreamed': len(streamed), 'runSeconds': seconds, 'tolerance': TOLERANCE, 'models': {}}
    wrong = 0
    for name in models_of_topology():
        file = ROOT / 'models' / name.split('@')[0] / name.split('@')[1] / 'model.onnx'
        kind = yaml.safe_load((file.parent / 'model.yaml').read_text())['kind']
        ours = rows.scores(session(file), kind, week)
        theirs = np.array([streamed[ids[i]][name] for i in week], dtype=np.float32)
        other = int((ours.view(np.uint32) != theirs.view(np.uint32)).sum())
        entry = {'kind': kind, 'otherBits': other, 'largestDifference': float(np.abs(ours - theirs).max())}
        if 'boost' not in name:
            entry['torchDifference'] = float(f'{np.abs(rows.scores(TorchGraph(file), kind, week) - ours).max():.1e}')
        wrong += other + (entry.get('torchDifference', 0) > TOLERANCE)
        result['models'][name] = entry
        print(f'{name}: {other} of {len(week):,} scores with other bits than on Kafka; PyTorch within {entry.get("torchDifference", "-")}', flush=True)
    options.figures.write_text(json.dumps(result, indent=1) + '\n')
    raise SystemExit(1 if wrong else 0)


def date_of(day: int) -> str:
    return str(np.datetime64(FIRST_DAY) + day)


def models_of_topology() -> list[str]:
    models = list(yaml.safe_load(TOPOLOGY.read_text())['stages'].values())[-1]['models']
    return [models['champion'], *models.get('shadows', [])]


def stream(namespace: str, end: int) -> tuple[dict[str, dict[str, float]], float]:
    """Transactions and labels of days 0 .. end - 1 through the topology on Kafka; (scores by event and model, seconds)."""
    brokers = os.environ.get('HARRIER_BROKERS') or json.loads(subprocess.run([*HARRIER, 'stack', 'status', '--json'], check=True, capture_output=True, text=True).stdout)['brokers']
    subprocess.run([*HARRIER, 'simulate', '--namespace', namespace, '--partitions', '1', '--to-day', str(end)], check=True)
    started, idle, before = time.monotonic(), 0, None
    run = subprocess.Popen([*HARRIER, 'run', '--topology', str(TOPOLOGY), '--namespace', namespace, '--create-topics', '--json'], stdout=subprocess.PIPE, text=True)
    for line in run.stdout:
        if not line.startswith('{'):
            continue
        stats = json.loads(line)
        positions = json.dumps(positions_of(stats))
        idle = idle + 1 if positions == before and stats.get('state') == 'running' and any(c in positions for c in '123456789') else 0
        before = positions
        if idle == IDLE_LINES:
            break
    seconds = time.monotonic() - started - IDLE_LINES
    run.send_signal(signal.SIGINT)
    if run.wait(120) != 0:
        raise SystemExit('harrier run failed')
    lines = subprocess.run(['node', str(ROOT / 'training' / 'scored.js'), brokers, f'{namespace}.card-terminal.scored'], check=True, capture_output=True, text=True).stdout
    return parsed(lines), round(seconds, 1)


def positions_of(value) -> list:
    """Every `position` in the statistics, whatever holds it."""
    if isinstance(value, dict):
        return [v for key, each in value.items() for v in ([each] if key == 'position' else positions_of(each))]
    return [v for each in value for v in positions_of(each)] if isinstance(value, list) else []


def read_scored(file: Path) -> dict[str, dict[str, float]]:
    return parsed(file.read_text())


def parsed(lines: str) -> dict[str, dict[str, float]]:
    return {event: scores for event, _, scores in map(json.loads, lines.splitlines())}


class Offline:
    """Rows of the table up to the end of the week, by terminal, for models that want a window or carry a state."""

    def __init__(self, table, names: list[str], at: np.ndarray, day: np.ndarray):
        self.terminal, self.time_ms, self.names, self.at = np.unique(text(table, 'entity'), return_inverse=True)[1], as_ms(table['event_time']), names, at
        self.x, self.fraud, self.day = np.stack([table[name].to_numpy() for name in names], axis=1), np.zeros(len(table), np.float32), day
        self.scenario, self.event_id, self.terminal_names = np.zeros(len(table), np.int64), np.arange(len(table)), None
        self.view = View(self, self.terminal, at)

    def __len__(self) -> int:
        return len(self.x)

    def scores(self, model, kind: str, wanted: np.ndarray) -> np.ndarray:
        """[len(wanted)] of the events `at[wanted]`. Batches do not matter: that is checked for each file (export.py)."""
        view, out = self.view, np.zeros(len(self.view), dtype=np.float32)
        places = view.index[self.at[wanted]]
        if kind != 'recurrent':
            for part in np.array_split(places, max(1, len(places) // 2048)):
                out[part] = model.run(None, {'x': view.windows(part) if kind == 'window' else view.x[part]})[0]
            return out[places]
        spans = view.sequences()
        h = None
        for step in range(int((spans[:, 1] - spans[:, 0]).max())):  # the step-th event of every terminal at once
            alive = spans[:, 0] + step < spans[:, 1]
            spans, h = spans[alive], None if h is None else h[alive]
            if h is None:
                h = np.zeros((len(spans), state_size(model)), dtype=np.float32)
            out[spans[:, 0] + step], h = model.run(None, {'x': view.x[spans[:, 0] + step], 'h': h})
        return out[places]


def state_size(model) -> int:
    return int(model.get_inputs()[1].shape[1]) if hasattr(model, 'get_inputs') else int(model.graph.input[1].type.tensor_type.shape.dim[1].dim_value)


if __name__ == '__main__':
    main()
