"""SIGTERM: what is open ends well, what is new is refused, and the process goes."""
import queue
import socket
import sys
import time

import hostile_test as hostile
from support import Script


def open_calls_finish(script):
    server = script.start("--drain-ms", "8000")
    channel = script.channel(own=True, addr=server.addr)
    slow = "@delay=1500 " if script.args.fake else "word 7 " * 150
    calls = [script.compress(channel).future(script.request(id=str(i), text=slow + str(i)), timeout=30)
             for i in range(100)]
    to_send = queue.Queue()
    stream = script.stream(channel)(iter(to_send.get, None), timeout=30)
    for i in range(5):
        to_send.put(script.item(id=str(i), text=slow + str(i)))
    idle = script.stream(channel)(iter(queue.Queue().get, None), timeout=30)
    time.sleep(0.5)
    server.signal()
    answered = sum(c.result().id == str(i) for i, c in enumerate(calls))
    script.check("open_calls_are_answered", answered == 100, answered)
    replies = []
    code, _, details, _ = script.failure(lambda: replies.extend(stream))
    script.check("open_items_of_a_stream_are_answered_and_the_stream_ends",
                 len(replies) == 5 and code == "UNAVAILABLE" and details["ErrorInfo"].reason == "DRAINING",
                 (len(replies), code, details))
    code, _, _, _ = script.failure(lambda: list(idle))
    script.check("an_idle_stream_is_ended", code == "UNAVAILABLE", code)
    code, _, _, _ = script.failure(lambda: script.compress(script.channel(own=True, addr=server.addr))(
        script.request(text="new"), timeout=3))
    script.check("a_new_call_is_refused", code == "UNAVAILABLE", code)
    began = time.monotonic()
    server.stop()
    script.check("the_process_leaves_when_the_last_call_is_done", time.monotonic() - began < 5)


def calls_during_the_lame_duck_are_served(script):
    server = script.start("--drain-ms", "3000")
    channel = script.channel(own=True, addr=server.addr)
    call = script.compress(channel)
    call(script.request(text="warm"), timeout=20)
    server.signal()
    time.sleep(0.1)
    reply = call(script.request(text="late 1"), timeout=20)
    script.check("a_call_in_the_lame_duck_is_served", reply.input_words == 2, reply)
    server.stop()


def the_grace_runs_out(script):
    if not script.args.fake:
        return
    server = script.start("--drain-ms", "300")
    call = script.compress(script.channel(own=True, addr=server.addr))
    future = call.future(script.request(text="@delay=60000 x"), timeout=50)
    time.sleep(0.3)
    began = time.monotonic()
    server.signal()
    code, _, _, _ = script.failure(future.result)
    script.check("a_call_over_the_grace_is_cut", code in ("UNAVAILABLE", "CANCELLED"), code)
    server.stop()
    script.check("a_cut_drain_does_not_wait_for_the_job", time.monotonic() - began < 10)
    server = script.start("--drain-ms", "60000")
    future = script.compress(script.channel(own=True, addr=server.addr)).future(
        script.request(text="@delay=60000 x"), timeout=50)
    time.sleep(0.3)
    server.signal()
    time.sleep(0.3)
    server.signal()
    began = time.monotonic()
    server.stop()
    script.check("a_second_signal_hurries", time.monotonic() - began < 10)


def silent_connections_do_not_hold_it_up(script):
    server = script.start("--drain-ms", "20000")
    host, port = server.addr.rsplit(":", 1)
    silent = socket.create_connection((host, int(port)))
    spoken = socket.create_connection((host, int(port)))
    spoken.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    script.compress(script.channel(own=True, addr=server.addr))(script.request(text="x"), timeout=20)
    began = time.monotonic()
    server.stop()
    script.check("silent_connections_do_not_hold_up_the_exit", time.monotonic() - began < 10,
                 time.monotonic() - began)
    silent.close()
    spoken.close()


def a_peer_that_takes_nothing(script):
    if script.args.fake:
        server = script.start("--drain-ms", "1000")
        hostile.drains_beside(script, server, hostile.connect(script, server.addr),
                              "a_peer_that_takes_nothing_does_not_hold_the_drain")


def a_port_in_use_is_one_clear_line(script):
    import subprocess
    first = script.start()
    command = [script.args.pithd, *script.args.pithd_args.split(), "--listen", first.addr]
    second = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60)
    line = second.stderr.strip().splitlines()[-1]
    script.check("a_port_in_use_exits_with_2_and_one_line",
                 second.returncode == 2 and f"cannot listen on {first.addr}: Address already in use" in line,
                 (second.returncode, line))
    first.stop()


def storms(script):
    codes = set()
    for k in range(4):
        server = script.start("--drain-ms", "500")
        channel = script.channel(own=True, addr=server.addr)
        text = (lambda i: f"@delay={i % 40} w") if script.args.fake else (lambda i: "w 1 " * (1 + i % 40))
        calls = [script.compress(channel).future(script.request(text=text(i)), timeout=30)
                 for i in range(200)]
        stream = script.stream(channel)(iter([script.item(text=text(i)) for i in range(50)]), timeout=30)
        time.sleep(0.03 * k)
        server.signal()
        codes |= {script.failure(c.result)[0] for c in calls}
        script.failure(lambda: list(stream))
        server.stop()
        channel.close()
    script.check("every_call_in_a_storm_gets_a_status_that_can_be_retried",
                 codes <= {"OK", "UNAVAILABLE", "CANCELLED"}, codes)


if __name__ == "__main__":
    script = Script(__doc__)
    sys.exit(script.run(open_calls_finish, calls_during_the_lame_duck_are_served, the_grace_runs_out,
                        silent_connections_do_not_hold_it_up, a_peer_that_takes_nothing, a_port_in_use_is_one_clear_line, storms))
