#!/bin/bash
# usage: run.sh WORK N ROUNDS PEER...   each peer once a round, in turns; WORK: W1 (window) | W2 (step)
# PEER: harrier (as many model threads as it opens itself), harrier1 harrier2 (1 or 2), streams1 streams2 (one event at a time, 1 or 2 threads), streams1b streams2b (micro-batch),
#       python, python2 (2 processes), quix, quix2, flink, copy
# env:  JOPTS (JVM options), BATCH (python), COMMIT (quix), TAG (part of the result's name), CRASH=1 (SIGKILL half way), HARRIER_ARGS
cd "$(dirname "$0")" || exit 1
. ./env.sh
work=$1 n=$2 rounds=$3
shift 3
eval "$(harrier stack status --json | python3 -c '
import json, sys
s = json.load(sys.stdin)
pid = next((x.get("pid") for x in s["services"] if x["name"] == "broker"), None)
if pid: print("export BROKER=%s BROKER_DATA=%s/kafka BROKER_PID=%s" % (s["brokers"], s["stateDir"], pid))')"
[ -n "$BROKER" ] || { echo "no broker: harrier stack up" >&2; exit 1; }
py=$PEERS_HOME/py/bin/python
$py produce.py "$n" || exit 1
jvm=(java -Xms512m -Xmx1g -XX:+UseParallelGC -Dorg.slf4j.simpleLogger.defaultLogLevel=warn $JOPTS)
declare -A kind=([W1]=window [W2]=step)
one() {
  local peer=$1 round=$2
  export RUN_ID=$peer-$work-$(date +%s) OUT_TOPIC=bench.scored
  local streams="$PEERS_HOME/build/streams/streams-1.jar:$PEERS_HOME/build/streams/lib/*"
  local cmd
  case $peer in
    harrier|harrier[12])
      local name=peers-${RUN_ID,,}
      sed "s/^name: .*/name: $name/" "harrier/gru-${kind[$work]}.yaml" >"$PEERS_HOME/state/$name.yaml"
      OUT_TOPIC=$name.scored
      local workers=${peer:7:1}
      cmd=(node "$PWD/../../bin/harrier.js" run --topology "$PEERS_HOME/state/$name.yaml" --models models --create-topics --workers "${workers:-auto}" $HARRIER_ARGS) ;;
    streams[12])  cmd=("${jvm[@]}" -cp "$streams" peers.StreamsPeer "$work" single "${peer:7:1}") ;;
    streams[12]b) cmd=("${jvm[@]}" -cp "$streams" peers.StreamsPeer "$work" batch "${peer:7:1}") ;;
    copy)    cmd=("${jvm[@]}" -cp "$streams" peers.RawCopy) ;;
    python)  cmd=("$py" python/peer.py "$work") ;;
    python2) cmd=(env PROCS=2 "$py" python/peer.py "$work") ;;
    quix)    cmd=("$PEERS_HOME/quix/bin/python" quix/peer.py "$work") ;;
    quix2)   cmd=(env OWN_STATE=1 bash -c "'$PEERS_HOME/quix/bin/python' quix/peer.py $work & '$PEERS_HOME/quix/bin/python' quix/peer.py $work & wait") ;;
    flink)   cmd=("${jvm[@]}" $(cat flink/jvm.options) -cp "$PEERS_HOME/build/flink/flink-1.jar:$PEERS_HOME/build/flink/lib/*" peers.FlinkPeer "$work") ;;
    *) echo "unknown peer $peer"; exit 1 ;;
  esac
  local out=$PEERS_HOME/results/$peer-$work${TAG:+-$TAG}
  echo -n "$(date +%T) $peer $work${TAG:+ $TAG} #$round: "
  timeout 500 "$py" meter.py "$n" "$out.$round.json" -- "${cmd[@]}" || { tail -5 "$out.$round.json.log"; return 1; }
  timeout 200 "$py" verify.py "$n" "$out.npy"
  rm -rf "$PEERS_HOME/state/$RUN_ID"
}
for round in $(seq "$rounds"); do for peer in "$@"; do one "$peer" "$round"; done; done
"$py" report.py "$PEERS_HOME/results" >"$PEERS_HOME/results/report.md" && cat "$PEERS_HOME/results/report.md"
ls "$PEERS_HOME"/results/*-"$work".npy >/dev/null 2>&1 && "$py" verify.py --compare "$PEERS_HOME"/results/*-"$work".npy
