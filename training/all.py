"""All models and figures, from nothing: data, rows, training, tables. Each step is a command and is printed before it runs.

    python training/all.py --work work/ [--skip-cards] [--seeds 3]

Ends at the first step that fails.
"""
from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--work', type=Path, required=True, help='folder for the data and the rows (about 250 MB)')
    parser.add_argument('--out', type=Path, default=ROOT / 'models', help='folder of models')
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--skip-cards', action='store_true', help='leave the models of card-fraud as they are')
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    data, rows, terminal_rows = (options.work / name for name in ('transactions.csv', 'rows.parquet', 'terminal-rows.parquet'))
    harrier = ['node', ROOT / 'bin' / 'harrier.js']
    train = [sys.executable, ROOT / 'training' / 'train.py', '--rows', rows, '--out', options.out, '--golden', ROOT / 'test' / 'golden' / 'models']
    run(*harrier, 'simulate', '--to', 'csv', '--out', data)
    run(*harrier, 'features', '--topology', 'card-fraud', '--from', data, '--out', rows)
    if not options.skip_cards:
        run(*train)
    run(*harrier, 'features', '--topology', 'card-terminal', '--from', data, '--out', terminal_rows, '--models', options.out)
    run(*train, '--terminal-rows', terminal_rows, '--figures', ROOT / 'training' / 'figures.json', '--seeds', options.seeds, '--book')
    account_rows = options.work / 'account-rows.parquet'
    run(*harrier, 'features', '--topology', 'account-risk', '--from', data, '--out', account_rows, '--models', options.out)
    run(sys.executable, ROOT / 'training' / 'train_account.py', '--rows', account_rows, '--transactions', data, '--out', options.out, '--golden', ROOT / 'test' / 'golden' / 'models', '--figures', ROOT / 'training' / 'account.json')
    run('node', ROOT / 'scripts' / 'docs.js')
    run('node', ROOT / 'scripts' / 'curves-svg.js')


def run(*command: object) -> None:
    words = [str(word) for word in command]
    print('$', shlex.join(words), flush=True)
    subprocess.run(words, check=True)


if __name__ == '__main__':
    main()
