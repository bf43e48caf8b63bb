"""An XGBoost model of one authorisation at a time, as ONNX: a tree ensemble, [B, 9] in, [B, 2] probabilities out.

    python xgboost_trees.py rows.parquet models/auth-trees/1
"""
import sys
from pathlib import Path

import numpy as np
import onnxmltools
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

from example_rows import NUMBERS, Rows, report, seal, write_golden


def main(file: str, folder: Path) -> None:
    rows = Rows(file)
    x = np.column_stack([rows.numbers, rows.channel, rows.merchant]).astype(np.float32)
    model = xgboost.XGBClassifier(n_estimators=60, max_depth=4, learning_rate=0.15, scale_pos_weight=6, tree_method='hist', n_jobs=1, random_state=9)
    model.fit(x[rows.train], rows.is_fraud[rows.train].astype(int))
    scores = model.predict_proba(x)[:, 1]
    report('auth-trees', rows, scores)
    folder.mkdir(parents=True, exist_ok=True)
    graph = onnxmltools.convert_xgboost(model, initial_types=[('x', FloatTensorType([None, x.shape[1]]))], target_opset=15)
    (folder / 'model.onnx').write_bytes(graph.SerializeToString())
    write_golden(folder, rows, scores, [*NUMBERS, 'channel', 'merchant'], f'XGBoost {xgboost.__version__}', 1e-5)
    seal(folder)


if __name__ == '__main__':
    main(sys.argv[1], Path(sys.argv[2]))
