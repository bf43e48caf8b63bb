# Where things are. The broker and the registry are those of `harrier stack up` unless they are named.
export PEERS_HOME=${PEERS_HOME:-$PWD/.work}
export MODELS=$PEERS_HOME/models PYTHONDONTWRITEBYTECODE=1
mkdir -p "$PEERS_HOME/results" "$PEERS_HOME/state" "$MODELS"
harrier() { node "$PWD/../../bin/harrier.js" "$@"; }
