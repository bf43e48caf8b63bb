"""Run one peer once and measure it.   usage: meter.py N OUT.json -- command ...
Time: the output's last stable offset (what a read_committed reader can see) is polled at 20 Hz; the rate is taken
from the first visible output to the last. CPU: /proc of the peer's whole process group over the same interval.
Bytes: growth of the broker's *.log files by topic."""
import glob, json, os, signal, subprocess, sys, time, collections
from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from produce import recreate

N, out, cmd = int(sys.argv[1]), sys.argv[2], sys.argv[4:]
BROKER, DATA, BPID, OUT = (os.environ[k] for k in ("BROKER", "BROKER_DATA", "BROKER_PID", "OUT_TOPIC"))
HZ = os.sysconf("SC_CLK_TCK")
admin = AdminClient({"bootstrap.servers": BROKER})


def stat(pid):
    try: f = open(f"/proc/{pid}/stat").read().rsplit(") ", 1)[1].split()
    except OSError: return None
    return int(f[2]), (int(f[11]) + int(f[12])) / HZ       # process group, user + system seconds


cpu_of, rss_of = {}, {}
def group_cpu(pg):
    rss = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        s = stat(pid)
        if s and s[0] == pg:
            cpu_of[pid] = s[1]
            try: rss += next(int(l.split()[1]) for l in open(f"/proc/{pid}/status") if l.startswith("VmRSS"))
            except (OSError, StopIteration): pass
    rss_of["peak"] = max(rss_of.get("peak", 0), rss)
    return sum(cpu_of.values())


def log_bytes():
    d = collections.Counter()
    for f in glob.glob(DATA + "/**/*.log", recursive=True):
        if "-delete/" in f: continue
        t = os.path.basename(os.path.dirname(f)).rsplit("-", 1)[0]
        try: d["out" if t == OUT else "changelog" if "changelog" in t or t.endswith(".state") else "lineage" if t.endswith(".lineage") else "txn+offsets" if t.startswith("__") and "metadata" not in t else "other"] += os.path.getsize(f)
        except OSError: pass
    return d


def visible():
    if OUT != "bench.scored" and OUT not in admin.list_topics(timeout=10).topics: return 0   # it makes its own
    r = admin.list_offsets({TopicPartition(OUT, p): OffsetSpec.latest() for p in range(4)},
                           isolation_level=IsolationLevel.READ_COMMITTED)
    try: return sum(f.result().offset for f in r.values())
    except KafkaException as e:
        if e.args[0].code() in (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART): return 0               # just made: its leader is not known yet
        raise


old = [t for t in admin.list_topics(timeout=10).topics if "changelog" in t or t.startswith("peers-")]      # of earlier runs
for f in (admin.delete_topics(old) if old else {}).values(): f.result()
recreate(admin, "bench.scored")
time.sleep(1)


def calibrate():                                            # one core's speed just now: ms for a fixed loop (the machine is shared)
    t, x = time.perf_counter(), 0
    for i in range(3_000_000): x += i * i & 7
    return round((time.perf_counter() - t) * 1e3)


steal = lambda: int(open("/proc/stat").readline().split()[8]) / HZ
calib, steal0 = [calibrate()], steal()
before, started = log_bytes(), time.time()
load0 = os.getloadavg()[0]
log = open(out + ".log", "w")
start = lambda: subprocess.Popen(cmd, start_new_session=True, stdout=log, stderr=subprocess.STDOUT)
proc, crash = start(), os.environ.get("CRASH")              # CRASH=1: SIGKILL at half way, start again at once
samples, last = [], None                                    # (time, visible, peer cpu, broker cpu), on each change
deadline = started + 400
try:
    while time.time() < deadline:
        v, now = visible(), time.time()
        if v and (not samples or v != samples[-1][1]):
            samples.append((now, v, group_cpu(proc.pid), stat(BPID)[1]))
        elif not samples or now - last > 1: group_cpu(proc.pid); last = now
        last = last or now
        if samples and samples[-1][1] >= N and now - samples[-1][0] > float(os.environ.get("SETTLE", 3)): break
        if crash and samples and samples[-1][1] >= N / 2:
            os.killpg(proc.pid, signal.SIGKILL); proc.wait(); print("killed at", samples[-1][1], end="; "); proc, crash = start(), None
        if proc.poll() is not None: print("peer ended", proc.returncode); break
        time.sleep(0.05)
finally:
    load1, after = os.getloadavg()[0], log_bytes()
    if proc.poll() is None:
        os.killpg(proc.pid, signal.SIGTERM)
        try: proc.wait(20)
        except subprocess.TimeoutExpired: os.killpg(proc.pid, signal.SIGKILL); proc.wait()
steal1 = steal()
calib.append(calibrate())
a, z = samples[0], samples[-1]
half = next(s for s in samples if s[1] >= N / 2)
ev = N - a[1]
r = dict(N=N, rate=ev / (z[0] - a[0]), rate_2nd_half=(z[1] - half[1]) / max(1e-9, z[0] - half[0]), seconds=z[0] - a[0],
         start_to_first=a[0] - started, first_chunk=a[1], cpu_us=(z[2] - a[2]) / ev * 1e6, broker_cpu_us=(z[3] - a[3]) / ev * 1e6,
         cpu_s_steady=z[2] - a[2], cpu_s_total=z[2], peak_rss_mb=rss_of["peak"] / 1024, load_before=load0, load_after=load1, calib_ms=calib, steal_s=steal1 - steal0,
         offsets=z[1], bytes={k: after[k] - before[k] for k in after})
json.dump(r, open(out, "w"))
print(f"{r['rate']:.0f} ev/s (2nd half {r['rate_2nd_half']:.0f}) in {r['seconds']:.1f} s; start->first {r['start_to_first']:.1f} s; peer {r['cpu_us']:.1f} us/ev, "
      f"broker {r['broker_cpu_us']:.1f} us/ev; cpu total {r['cpu_s_total']:.1f} s; RSS {r['peak_rss_mb']:.0f} MB; load {load0:.2f}->{load1:.2f}; calib {calib} ms; steal {steal1 - steal0:.1f} s; bytes/ev "
      + ", ".join(f"{k} {v / N:.0f}" for k, v in r["bytes"].items() if v))
