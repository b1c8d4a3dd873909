"""TLS and mutual TLS: who gets in, large and many messages through it, certificates that change while it
serves, and the guards of the plain port behind it."""
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import hostile_test as hostile
from support import UNLIMITED, OWN_CONNECTION, Script, grpc, wait_until


def openssl(folder, *words):
    subprocess.run(["openssl", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def authority(folder, name):
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")


def certificate(folder, issuer, name):
    """NAME.pem and NAME.key, for localhost, put in place at once as a secret's rotation does."""
    extensions = os.path.join(folder, "san")
    with open(extensions, "w", encoding="utf-8") as file:
        file.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
            "-keyout", f"{name}.key.new", "-out", f"{name}.csr")
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key",
            "-CAcreateserial", "-days", "2", "-extfile", "san", "-out", f"{name}.pem.new")
    for end in ("key", "pem"):
        os.replace(os.path.join(folder, f"{name}.{end}.new"), os.path.join(folder, f"{name}.{end}"))


def read(folder, name):
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


class World:
    def __init__(self, script):
        self.script = script
        self.folder = tempfile.mkdtemp()
        for name in ("ours", "theirs", "clients"):
            authority(self.folder, name)
        certificate(self.folder, "ours", "server")
        certificate(self.folder, "clients", "client")
        certificate(self.folder, "theirs", "stranger")

    def path(self, name):
        return os.path.join(self.folder, name)

    def start(self, *more):
        return self.script.start("--tls-cert", self.path("server.pem"), "--tls-key", self.path("server.key"), *more)

    def channel(self, server, root="ours", client=None):
        names = [None, None] if client is None else [read(self.folder, f"{client}.key"), read(self.folder, f"{client}.pem")]
        credentials = grpc.ssl_channel_credentials(read(self.folder, f"{root}.pem"), *names)
        return grpc.secure_channel("localhost:" + server.addr.rsplit(":", 1)[1], credentials,
                                   [*UNLIMITED, *OWN_CONNECTION])

    def outcome(self, channel):
        with channel:
            call = self.script.compress(channel)
            return self.script.failure(lambda: call(self.script.request(text="a text of 4 words"), timeout=10))[0]


def raw(world, server, alpn=("h2",)):
    context = ssl.create_default_context(cafile=world.path("ours.pem"))
    context.set_alpn_protocols(list(alpn))
    plain = socket.create_connection(("127.0.0.1", int(server.addr.rsplit(":", 1)[1])), timeout=5)
    return context.wrap_socket(plain, server_hostname="localhost")


def one_way(script, world):
    server = world.start("--health", "127.0.0.1:0")
    channel = world.channel(server)
    call = script.compress(channel)
    reply = call(script.request(id="t", text="a text of 4 words"), timeout=20)
    script.check("a_text_is_compressed_over_tls", reply.id == "t" and reply.input_words == 5, reply)
    if script.args.fake:
        text = "word 7 " * 1000000
        script.check("seven_megabytes_pass_both_ways",
                     call(script.request(text=text), timeout=60).input_words == 2000000)
    words = 200 if script.args.fake else 2
    futures = [call.future(script.request(id=str(i), text=f"word {i} " * words), timeout=60) for i in range(200)]
    script.check("200_calls_at_once_are_answered_over_tls",
                 all(f.result().id == str(i) for i, f in enumerate(futures)))
    n = len(list(script.stream(channel)((script.item(id=str(i), text="word 1 " * words) for i in range(200)), timeout=60)))
    script.check("a_stream_of_200_passes_over_tls", n == 200, n)
    script.check("a_client_that_trusts_another_authority_stays_out",
                 world.outcome(world.channel(server, root="theirs")) == "UNAVAILABLE")
    script.check("plain_text_stays_out",
                 world.outcome(script.channel(own=True, addr=server.addr)) == "UNAVAILABLE")
    try:
        raw(world, server, alpn=("http/1.1",)).close()
        spoke = True
    except ssl.SSLError:
        spoke = False
    script.check("a_client_of_another_protocol_is_turned_away", not spoke)
    check = script.unary(script.channel(own=True, addr=server.health), "/grpc.health.v1.Health/Check",
                         "grpc.health.v1.HealthCheckRequest", "grpc.health.v1.HealthCheckResponse")
    script.check("the_port_of_health_stays_plain",
                 check(script.messages["grpc.health.v1.HealthCheckRequest"](), timeout=10).status == 1)
    guards(script, world, server)
    rotation(script, world, server, channel)
    began = time.monotonic()
    server.stop()
    script.check("a_server_with_tls_drains_in_time", time.monotonic() - began < 20, time.monotonic() - began)


def ended(sock):
    """Reads what is there: the core takes nothing more from a peer that does not read what it answers."""
    try:
        sock.settimeout(0.001)
        while sock.recv(65536):
            pass
        return True
    except (socket.timeout, ssl.SSLWantReadError):
        return False
    finally:
        sock.settimeout(5)


def guards(script, world, server):
    """Rapid reset, a silent peer and a handshake that never ends: the same as on the plain port."""
    sock = raw(world, server)
    began, cut, first = time.monotonic(), False, 1
    sock.sendall(hostile.OPENING)
    while not cut and time.monotonic() - began < 5:
        try:
            sock.sendall(b"".join(hostile.frame(1, 4, s, hostile.HEADERS) + hostile.frame(3, 0, s, b"\0\0\0\x08")
                                  for s in range(first, first + 1000, 2)))
            first += 1000
            cut = ended(sock)
        except socket.timeout:  # nothing is taken and nothing is ended: no cut
            break
        except OSError:
            cut = True
    script.check("rapid_reset_is_cut_behind_tls", cut, (first, time.monotonic() - began))
    silent = [socket.create_connection(("127.0.0.1", int(server.addr.rsplit(":", 1)[1]))) for _ in range(20)]
    for i, one in enumerate(silent):
        one.sendall(os.urandom(200) if i % 2 else b"\x16\x03\x01\x00\xc8\x01")
    script.check("others_are_served_beside_broken_handshakes", world.outcome(world.channel(server)) == "OK")
    for one in silent:
        one.close()


def rotation(script, world, server, old_channel):
    """New files are taken up without a signal; connections that are open stay."""
    authority(world.folder, "next")
    certificate(world.folder, "next", "server")
    script.check("new_certificates_are_taken_up",
                 wait_until(lambda: world.outcome(world.channel(server, root="next")) == "OK", 15))
    script.check("an_open_connection_outlives_the_old_certificate",
                 script.compress(old_channel)(script.request(text="x 1"), timeout=20).input_words == 2)
    script.check("the_old_authority_is_no_longer_enough",
                 world.outcome(world.channel(server, root="ours")) == "UNAVAILABLE")
    with open(world.path("server.pem"), "w", encoding="utf-8") as file:
        file.write("not a certificate\n")
    seen = lambda: any("the old certificates stay" in line for line in server.lines)
    if script.args.pithd and not script.args.fake:
        server.signal(signal.SIGHUP)
    kept = wait_until(seen, 10)
    script.check("a_broken_certificate_changes_nothing", kept and
                 world.outcome(world.channel(server, root="next")) == "OK", server.lines[-3:])
    certificate(world.folder, "ours", "server")


def both_ways(script, world):
    server = world.start("--tls-client-ca", world.path("clients.pem"))
    script.check("a_client_with_a_certificate_gets_in", world.outcome(world.channel(server, client="client")) == "OK")
    script.check("a_client_without_a_certificate_stays_out",
                 world.outcome(world.channel(server)) == "UNAVAILABLE")
    script.check("a_client_of_another_authority_stays_out",
                 world.outcome(world.channel(server, client="stranger")) == "UNAVAILABLE")
    threads = [threading.Thread(target=lambda: world.outcome(world.channel(server, client="client"))) for _ in range(20)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    script.check("it_serves_on_after_many_handshakes", world.outcome(world.channel(server, client="client")) == "OK")
    server.stop()


def greedy_peer(script, world):
    if script.args.fake:
        server = world.start("--drain-ms", "1000")
        hostile.drains_beside(script, server, raw(world, server), "a_tls_peer_that_takes_nothing_does_not_hold_the_drain")


def refusals(script, world):
    if script.args.fake:
        return
    for name, words, says in (("a_missing_key_file", ["--tls-cert", world.path("server.pem")], "given together"),
                              ("a_foreign_key", ["--tls-cert", world.path("server.pem"), "--tls-key",
                                                 world.path("client.key")], "key values mismatch"),
                              ("a_broken_certificate", ["--tls-cert", world.path("san"), "--tls-key",
                                                        world.path("server.key")], "--tls-cert")):
        done = subprocess.run([script.args.pithd, "--listen", "127.0.0.1:0", *words], stderr=subprocess.PIPE, text=True,
                              timeout=60)
        script.check(f"{name}_is_one_clear_line", done.returncode == 2 and says in done.stderr.splitlines()[-1],
                     (done.returncode, done.stderr))


def tls(script):
    if script.args.pithd is None:
        return
    if shutil.which("openssl") is None:
        print("skip tls: no openssl program to make certificates with")
        return
    world = World(script)
    one_way(script, world)
    both_ways(script, world)
    greedy_peer(script, world)
    refusals(script, world)
    shutil.rmtree(world.folder)


if __name__ == "__main__":
    script = Script(__doc__)
    sys.exit(script.run(tls))
