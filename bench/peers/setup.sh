#!/bin/bash
# Builds the peers into $PEERS_HOME (default: .work here, which git ignores).
cd "$(dirname "$0")" || exit 1
. ./env.sh
[ -d "$PEERS_HOME/py" ] || { python3 -m venv "$PEERS_HOME/py" && "$PEERS_HOME/py/bin/pip" install -q -r requirements.txt; } || exit 1
[ -n "$NO_QUIX" ] || [ -d "$PEERS_HOME/quix" ] || { python3 -m venv "$PEERS_HOME/quix" && "$PEERS_HOME/quix/bin/pip" install -q quixstreams==3.28.1 onnxruntime==1.29.0 numpy==2.4.6; } || exit 1
for d in streams flink; do (cd $d && mvn -q -B package) || exit 1; done
for k in step window; do ln -sfn "$PWD/models/peer-gru-$k/1/model.onnx" "$MODELS/gru_$k.onnx"; done
