"""A Keras GRU that carries its state from authorisation to authorisation, as ONNX: one step, state in and state out.

    python keras_gru.py rows.parquet models/auth-gru/1

It is trained over sequences and exported as one step of the same layers: `return_state` gives the state that the next step begins with.
"""
import os
import sys
from pathlib import Path

os.environ['KERAS_BACKEND'] = 'tensorflow'
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '2'
import keras
import numpy as np
from keras import layers

from example_rows import NUMBERS, Rows, report, seal, write_golden

HIDDEN, STEPS = 24, 40


def main(file: str, folder: Path) -> None:
    keras.utils.set_random_seed(5)
    rows = Rows(file)
    train = rows.numbers[rows.train]
    # In the graph, so that whoever feeds the model feeds plain features. Rescaling and not Normalization: the exporter would make
    # inputs of that layer's constants.
    scale = layers.Rescaling((1 / train.std(0)).tolist(), (-train.mean(0) / train.std(0)).tolist())
    gru = layers.GRU(HIDDEN, return_sequences=True, return_state=True)
    head = layers.Dense(1)  # a logit: the manifest says so, and the engine takes the sigmoid

    series = keras.Input((None, len(NUMBERS)))
    states, _ = gru(scale(series))
    training = keras.Model(series, head(states))
    training.compile('adam', keras.losses.BinaryCrossentropy(from_logits=True))
    x, y, weights = sequences(rows)
    training.fit(x, y, sample_weight=weights, batch_size=16, epochs=25, verbose=2)

    one = keras.Input((1, len(NUMBERS)), name='x')
    h = keras.Input((HIDDEN,), name='h')
    output, after = gru(scale(one), initial_state=h)
    step = keras.Model([one, h], {'logit': layers.Identity(name='logit')(head(output[:, 0])), 'h_next': layers.Identity(name='h_next')(after)})

    scores = np.zeros(len(rows.card), dtype=np.float32)
    for card in dict.fromkeys(rows.card):
        own = np.flatnonzero(rows.card == card)
        scores[own] = 1 / (1 + np.exp(-training(rows.numbers[own][None]).numpy()[0, :, 0]))
    report('auth-gru', rows, scores)
    folder.mkdir(parents=True, exist_ok=True)
    step([np.zeros((1, 1, len(NUMBERS))), np.zeros((1, HIDDEN))])  # Keras exports only what has been called
    step.export(folder / 'model.onnx', format='onnx', verbose=False)
    write_golden(folder, rows, scores, NUMBERS, f'Keras {keras.__version__}', 1e-5)
    seal(folder)


def sequences(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training cards cut into STEPS events each: [S, STEPS, 7], labels and weights [S, STEPS, 1]; weight 0 pads the end."""
    x, y, weights = [], [], []
    for card in dict.fromkeys(rows.card[rows.train]):
        own = np.flatnonzero(rows.card == card)
        for begin in range(0, len(own), STEPS):
            part = own[begin:begin + STEPS]
            pad = STEPS - len(part)
            x.append(np.pad(rows.numbers[part], ((0, pad), (0, 0))))
            y.append(np.pad(rows.is_fraud[part], (0, pad)))
            weights.append(np.pad(1 + 5 * rows.is_fraud[part], (0, pad)))
    return np.stack(x), np.stack(y)[..., None], np.stack(weights)[..., None]


if __name__ == '__main__':
    main(sys.argv[1], Path(sys.argv[2]))
