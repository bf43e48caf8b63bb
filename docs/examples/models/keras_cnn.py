"""A Keras CNN over a card's last 16 authorisations, with an embedding of the channel, as ONNX.

    python keras_cnn.py rows.parquet models/auth-cnn/1
"""
import os
import sys
from pathlib import Path

os.environ['KERAS_BACKEND'] = 'tensorflow'
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '2'
import keras
import numpy as np
from keras import layers

from example_rows import CHANNELS, NUMBERS, WINDOW, Rows, report, seal, write_golden


def build(rows: Rows) -> keras.Model:
    x = keras.Input((WINDOW, len(NUMBERS)), name='x')
    channel = keras.Input((WINDOW,), dtype='int64', name='channel')
    train = rows.numbers[rows.train]
    # In the graph, so that whoever feeds the model feeds plain features. Rescaling and not Normalization: the exporter would make
    # inputs of that layer's constants.
    scale = layers.Rescaling((1 / train.std(0)).tolist(), (-train.mean(0) / train.std(0)).tolist())
    both = layers.Concatenate()([scale(x), layers.Embedding(len(CHANNELS) + 1, 3)(channel)])
    hidden = layers.Conv1D(24, 3, padding='causal', activation='relu')(both)
    hidden = layers.Conv1D(24, 3, padding='causal', activation='relu')(hidden)
    hidden = layers.Concatenate()([layers.GlobalMaxPooling1D()(hidden), layers.Flatten()(hidden[:, -1:])])
    return keras.Model([x, channel], layers.Dense(2, activation='softmax', name='classes')(layers.Dense(24, activation='relu')(hidden)))


def main(file: str, folder: Path) -> None:
    keras.utils.set_random_seed(3)
    rows = Rows(file)
    x, _ = rows.windows(rows.numbers)
    channel, _ = rows.windows(rows.channel)
    model = build(rows)
    model.compile('adam', 'sparse_categorical_crossentropy')
    model.fit([x[rows.train], channel[rows.train]], rows.is_fraud[rows.train], batch_size=256, epochs=12, class_weight={0: 1.0, 1: 6.0}, verbose=2)
    scores = model.predict([x, channel], batch_size=4096, verbose=0)[:, 1]
    report('auth-cnn', rows, scores)
    folder.mkdir(parents=True, exist_ok=True)
    model.export(folder / 'model.onnx', format='onnx', verbose=False)
    write_golden(folder, rows, scores, [*NUMBERS, 'channel'], f'Keras {keras.__version__}', 1e-5)
    seal(folder)


if __name__ == '__main__':
    main(sys.argv[1], Path(sys.argv[2]))
