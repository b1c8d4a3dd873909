"""pithd on emulated GPUs (tests/server/emulated_faults.c): figures, memory that runs out, a lost device.

PITH_TINY_MODEL_MAKER names the program that writes the model. Every server here is its own: --addr none."""
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request

from support import Script, wait_until

LAUNCH, RUN = 3, 4  # pith_emulated_call
NO_MEMORY, LAUNCH_FAILURE = 2, 719  # cudaError_t
SERVING, NOT_SERVING = 1, 2
TEXT = "the build of module 17 failed after 3 retries in /srv/data and nobody knows why it did so\n"


def page_of(server):
    with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=30) as reply:
        return reply.read().decode()


def figures(script, server):
    page = page_of(server)
    for gpu in (0, 1):
        for name in ("pith_gpu_saturated_values_total", "pith_gpu_kernel_mismatch"):
            line = f'{name}{{gpu="{gpu}",uuid="GPU-emulated-{gpu}"}} 0'
            script.check(f"{name}_of_gpu_{gpu}_is_there_at_zero", line in page.splitlines(), page[-3000:])
    if shutil.which("promtool"):
        done = subprocess.run(["promtool", "check", "metrics"], input=page, text=True,
                              capture_output=True, check=False)
        script.check("promtool_finds_nothing_on_the_page_of_a_gpu_server",
                     done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr)
    else:
        print("skip promtool_finds_nothing_on_the_page_of_a_gpu_server: promtool is not installed")


def plant(path, call, calls, code):
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(f"{call} {calls} {code}\n")
    os.rename(path + ".new", path)
    wait_until(lambda: not os.path.exists(path))


def lose(script):
    maker = os.environ["PITH_TINY_MODEL_MAKER"]
    model = subprocess.run([maker], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    fault = os.path.join(model, "fault")
    os.environ["PITH_EMULATED_FAULT"] = fault
    try:
        absent = subprocess.run([script.args.pithd, "--listen", "127.0.0.1:0", "--device", "cuda:9",
                                 "--model", model], stderr=subprocess.PIPE, text=True, check=False)
        script.check("a_device_that_is_not_there_is_exit_2",
                     absent.returncode == 2 and "this machine has 2" in absent.stderr, absent.stderr)
        run(script, script.start("--device", "cuda:0,cuda:1", "--model", model, "--step-tokens", "64",
                                 "--http", "127.0.0.1:0"), fault)
    finally:
        shutil.rmtree(model)


def reason_of(failure):
    """Code and reason as one."""
    info = failure[2].get("ErrorInfo")
    return f"{failure[0]} {info.reason if info else ''}"


def run(script, server, fault):
    script.check("the_log_says_how_the_devices_got_their_weights",
                 any("2 devices: weights through the host: " in line for line in server.lines),
                 server.lines)
    figures(script, server)
    channel = script.channel(own=True, addr=server.addr)
    compress = script.compress(channel)
    ask = lambda: compress(script.request(text=TEXT, target_ratio=0.5), timeout=120)
    good = ask()
    plant(fault, LAUNCH, 0, NO_MEMORY)
    code, text, details, _ = script.failure(ask)
    script.check("out_of_memory_in_a_step_is_resource_exhausted", code == "RESOURCE_EXHAUSTED", code)
    script.check("and_says_when_to_try_again_and_why_and_nothing_of_our_own",
                 "RetryInfo" in details and details["ErrorInfo"].reason == "OUT_OF_MEMORY"
                 and "pith_cu" not in text, (text, details))
    script.check("and_the_next_text_has_its_answer", ask().text == good.text)

    watch = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=script.messages["grpc.health.v1.HealthCheckRequest"].SerializeToString,
        response_deserializer=script.messages["grpc.health.v1.HealthCheckResponse"].FromString)(
            script.messages["grpc.health.v1.HealthCheckRequest"](), timeout=120)
    seen = [next(watch).status]
    plant(fault, RUN, 5, LAUNCH_FAILURE)
    codes = []
    callers = [threading.Thread(target=lambda: codes.append(reason_of(script.failure(ask))))
               for _ in range(4)]
    for caller in callers:
        caller.start()
    ended, _, _, _ = script.failure(lambda: seen.extend(reply.status for reply in watch))
    for caller in callers:
        caller.join()
    script.check("calls_in_flight_on_a_lost_device_are_unavailable",
                 {code.split()[0] for code in codes} == {"UNAVAILABLE"} and len(codes) == 4, codes)
    script.check("and_are_told_of_the_device_not_of_a_drain", "UNAVAILABLE DEVICE_LOST" in codes, codes)
    script.check("health_turns_not_serving_before_the_end", seen == [SERVING, NOT_SERVING], seen)
    script.check("the_watch_ends_with_the_server", ended == "UNAVAILABLE", ended)
    code = server.wait(60)
    text = "".join(server.lines)
    script.check("a_lost_device_ends_pithd_with_exit_3", code == 3, f"{code} {text[-2000:]}")
    script.check("and_the_log_says_so", "the device is lost" in text, text[-2000:])


if __name__ == "__main__":
    sys.exit(Script(__doc__).run(lose))
