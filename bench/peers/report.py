"""Table of the results in DIR: median (min-max) over the runs of each peer and work."""
import collections, glob, json, os, statistics as st, sys
runs = collections.defaultdict(list)
for f in sorted(glob.glob(sys.argv[1] + "/*.json")):
    runs[os.path.basename(f).rsplit(".", 2)[0]].append(json.load(open(f)))
def m(rs, k, d=0):
    v = [r[k] for r in rs]
    return f"{st.median(v):,.{d}f}" + (f" ({min(v):,.{d}f}-{max(v):,.{d}f})" if len(v) > 1 else "")
print("| peer-work | runs | N | events/s | 2nd half events/s | s | peer CPU us/event | broker CPU us/event | peak RSS MB | changelog B/ev | out B/ev | load | calib ms |\n|" + " --- |" * 13)
for name, rs in sorted(runs.items(), key=lambda x: (x[0].split("-")[1], x[0])):
    b = lambda k: f"{st.median([r['bytes'].get(k, 0) / r['N'] for r in rs]):.0f}"
    cal = [c for r in rs for c in r.get("calib_ms", [])]
    print(f"| {name} | {len(rs)} | {rs[0]['N']:,} | {m(rs, 'rate')} | {m(rs, 'rate_2nd_half')} | {m(rs, 'seconds', 1)} | {m(rs, 'cpu_us', 1)} | {m(rs, 'broker_cpu_us', 1)} | "
          f"{m(rs, 'peak_rss_mb')} | {b('changelog')} | {b('out')} | {min(r['load_before'] for r in rs):.1f}-{max(r['load_after'] for r in rs):.1f} | {f'{min(cal)}-{max(cal)}' if cal else ''} |")
