"""pithd's time to ready and VmHWM after 100 texts of 4 KiB: measure.py BUILD MODEL_DIR LIMIT_MIB."""
import re
import signal
import subprocess
import sys
import tempfile
import time

build, model, limit = sys.argv[1], sys.argv[2], float(sys.argv[3])
LINE = "2026-01-%02d INFO worker %d accepted job %d from queue alpha after %d ms\n"


def ready(log):
    found = re.search(r"listening on (\S+)", open(log).read())
    return found and found.group(1)


def start():
    log = tempfile.NamedTemporaryFile(suffix=".log", delete=False).name
    began = time.monotonic()
    process = subprocess.Popen([f"{build}/pithd", "--listen", "127.0.0.1:0", "--model", model],
                               stderr=open(log, "w"))
    while not ready(log):
        if process.poll() is not None:
            sys.exit(open(log).read())
        time.sleep(0.001)
    return process, ready(log), time.monotonic() - began


def stop(process):
    process.send_signal(signal.SIGTERM)
    process.wait()


starts = []
for _ in range(5):
    process, addr, seconds = start()
    starts.append(seconds * 1000)
    stop(process)
process, addr, _ = start()
for i in range(100):
    text = "".join(LINE % (k % 28 + 1, i, k, k * 7) for k in range(80))[:4096]
    subprocess.run([f"{build}/pith", "compress", "--addr", addr, "-"], input=text.encode(),
                   check=True, capture_output=True)
peak = int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{process.pid}/status").read()).group(1)) / 1024
stop(process)
print(f"{model}: ready in {sorted(starts)[2]:.0f} ms (median of 5, {min(starts):.0f}-{max(starts):.0f}), "
      f"VmHWM {peak:.0f} MiB of {limit:.0f} allowed ({100 * peak / limit:.0f} %)")
