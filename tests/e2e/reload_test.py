"""SIGHUP: patterns are read again while requests come in; a file that cannot be used changes nothing."""
import json
import os
import signal
import sys
import tempfile
import threading

from support import Script, wait_until

# No built-in class knows these words.
TEXT = "the zebrafish swam over the quiet reef and then the narwhal followed it for a while " * 12


def write(path, text):
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".new", path)


def patterns_for(word):
    return json.dumps({"classes": {"animal": {"pattern": word}}})


def reload(script):
    if script.args.fake or script.args.pithd is None:
        return
    path = os.path.join(tempfile.mkdtemp(), "patterns.json")
    write(path, patterns_for("zebrafish"))
    server = script.start("--patterns", path)
    call = script.compress(script.channel(own=True, addr=server.addr))
    ask = lambda: call(script.request(text=TEXT, target_ratio=0.05), timeout=60)
    heard = lambda line: wait_until(lambda: any(line in seen for seen in server.lines), 20)
    before = ask()
    replies, stop = [], threading.Event()

    def load():
        while not stop.is_set():
            replies.append(ask())
    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    write(path, patterns_for("narwhal"))
    server.signal(signal.SIGHUP)
    script.check("a_hangup_is_answered_in_the_log", heard("patterns and thresholds read again"), server.lines)
    after = ask()
    write(path, '{"classes": {"animal": {"pattern": "("}}}')
    server.signal(signal.SIGHUP)
    script.check("a_pattern_that_cannot_be_used_is_refused_in_the_log",
                 heard("the old patterns and thresholds stay: "), server.lines)
    still = ask()
    os.remove(path)
    server.signal(signal.SIGHUP)
    stop.set()
    for thread in threads:
        thread.join()
    script.check("new_patterns_are_in_force", before.text.count("zebrafish") == 12 and
                 after.text.count("narwhal") == 12, (before.text, after.text))
    script.check("the_fingerprint_tells_them_apart", before.model_fingerprint != after.model_fingerprint)
    script.check("what_was_refused_changed_nothing", still.text == after.text and
                 still.model_fingerprint == after.model_fingerprint, still.text)
    known = {before.model_fingerprint: before.text, after.model_fingerprint: after.text}
    mixed = [r for r in replies if known.get(r.model_fingerprint) != r.text]
    script.check("no_answer_under_load_is_of_both", replies and not mixed, mixed[:1])
    server.stop()


if __name__ == "__main__":
    script = Script(__doc__)
    sys.exit(script.run(reload))
