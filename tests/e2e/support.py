"""What the end-to-end scripts share: messages, a server under test, and checks by name.

Needs grpc and google.protobuf of any version since Debian 12's (1.51, 3.21): message classes are made
from the descriptor set that the build leaves behind, not from generated stubs. Each script takes
--pithd PATH (started on a free port) or --addr HOST:PORT (running already), and --fake when the server
has the scripted engine of tests/server. Every check prints "ok NAME" or "not ok NAME: what was seen".
"""
import argparse
import atexit
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

try:
    import grpc
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
except ImportError as missing:
    print(f"skip {os.path.basename(sys.argv[0])}: {missing}")
    sys.exit(77)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


def parse_args(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--pithd", help="server to start")
    parser.add_argument("--pithd-args", default="", help="further flags of the server")
    parser.add_argument("--addr", help="a server that runs already")
    parser.add_argument("--fake", action="store_true", help="the engine is the scripted one")
    parser.add_argument("--protoset", help="descriptor set; by default made with protoc")
    return parser.parse_args()


class Messages:
    """Message classes by full name, and callables by method path."""

    def __init__(self, protoset):
        if protoset is None:
            protoset = os.path.join(tempfile.mkdtemp(), "pith.protoset")
            protos = ["pith/v1/compression.proto", "google/rpc/error_details.proto",
                      "grpc/health/v1/health.proto", "grpc/reflection/v1/reflection.proto",
                      "grpc/reflection/v1alpha/reflection.proto", "inference/open_inference.proto"]
            subprocess.run(["protoc", "-I", os.path.join(ROOT, "proto"), "--include_imports",
                            f"--descriptor_set_out={protoset}", *protos], check=True)
        files = descriptor_pb2.FileDescriptorSet()
        with open(protoset, "rb") as stored:
            files.ParseFromString(stored.read())
        self.pool = make_pool(files.file)

    def __getitem__(self, name):
        return message_class(self.pool.FindMessageTypeByName(name))


def make_pool(files):
    pool = descriptor_pool.DescriptorPool()
    for one in files:
        pool.Add(one)
    return pool


def message_class(descriptor):
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(descriptor.file.pool).GetPrototype(descriptor)


class Server:
    """A pithd of our own on a free port."""

    started = []

    def __init__(self, path, args=(), limit_fds=None, listen="127.0.0.1:0", env=None):
        command = [path, *(["--listen", listen] if listen else []), *args]
        before = None
        if limit_fds is not None:
            import resource
            before = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit_fds, limit_fds))
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace",
                                        preexec_fn=before, env={**os.environ, **(env or {})})
        atexit.register(self.process.kill)  # a part that fails leaves its server behind
        self.started.append(self)
        self.lines = []
        self.addr = None
        self.http = None
        for line in self.process.stderr:
            self.lines.append(line)
            found = re.search(r"listening on ([^\s,]+:\d+)(?:.*http on ([^\s,\"]+:\d+))?", line)
            if found:
                self.addr, self.http = found.group(1), found.group(2)
                health = re.search(r"health on ([^\s,\"]+:\d+)", line)
                self.health = health.group(1) if health else None
                break
        if self.addr is None:
            raise RuntimeError("the server did not start: " + "".join(self.lines))
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self, seconds=30):
        code = self.process.wait(seconds)
        self.reader.join(5)
        return code

    def stop(self):
        """Drains; a sanitizer's report or a crash fails the script."""
        if self.process.poll() is None:
            self.signal()
        code = self.wait()
        text = "".join(self.lines)
        report = text.find("Sanitizer")
        if code != 0 or report >= 0:
            print(text[max(0, report - 100):][:6000], flush=True)
            raise RuntimeError(f"the server ended with {code}")

    def died(self):
        """What a server said that has ended by itself, or of which a sanitizer has something to say."""
        text = "".join(self.lines)
        report = text.find("Sanitizer")
        code = self.process.poll()
        return "" if code in (None, 0) and report < 0 else f"; a server ended with {code}: {text[max(0, report):][:3000]}"

    def rss_mib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return [int(line.split()[1]) // 1024 for line in status if line.startswith("VmRSS")][0]

    def is_sanitized(self, by=("libasan", "libtsan")):
        with open(f"/proc/{self.process.pid}/maps") as maps:
            loaded = maps.read()
        return any(name in loaded for name in by)


class Script:
    """Named checks; the exit code says whether all held."""

    def __init__(self, description):
        self.args = parse_args(description)
        self.messages = Messages(self.args.protoset)
        self.failed = 0
        self.server = None
        self.addr = self.args.addr
        if self.addr is None:
            self.server = self.start()
            self.addr = self.server.addr

    def start(self, *args, **kwargs):
        return Server(self.args.pithd, [*self.args.pithd_args.split(), *args], **kwargs)

    def patience(self, seconds):
        """How long a client waits for its turn: longer beside a server that ThreadSanitizer slows down."""
        return seconds * (5 if self.server and self.server.is_sanitized(by=["libtsan"]) else 1)

    def channel(self, own=False, options=(), addr=None):
        return grpc.insecure_channel(addr or self.addr, [*UNLIMITED, *options,
                                                         *(OWN_CONNECTION if own else [])])

    def unary(self, channel, path, request, reply):
        return channel.unary_unary(path, request_serializer=self.messages[request].SerializeToString,
                                   response_deserializer=self.messages[reply].FromString)

    def compress(self, channel):
        return self.unary(channel, "/pith.v1.CompressionService/Compress",
                          "pith.v1.CompressRequest", "pith.v1.CompressResponse")

    def stream(self, channel):
        return channel.stream_stream(
            "/pith.v1.CompressionService/StreamCompress",
            request_serializer=self.messages["pith.v1.StreamCompressRequest"].SerializeToString,
            response_deserializer=self.messages["pith.v1.StreamCompressResponse"].FromString)

    def request(self, **fields):
        return self.messages["pith.v1.CompressRequest"](**fields)

    def item(self, **fields):
        return self.messages["pith.v1.StreamCompressRequest"](request=self.request(**fields))

    def check(self, name, held, seen=""):
        if held:
            print(f"ok {name}", flush=True)
        else:
            self.failed += 1
            print(f"not ok {name}: {' '.join(str(seen).split())[:600]}", flush=True)

    def details(self, packed):
        """{"ErrorInfo": message, ...} of a google.rpc.Status."""
        found = {}
        for any_message in packed.details:
            name = any_message.type_url.split("/")[-1]
            message = self.messages[name]()
            message.ParseFromString(any_message.value)
            found[name.split(".")[-1]] = message
        return found

    def failure(self, call):
        """Runs a call that should fail: its code, text, details and trailers."""
        try:
            call()
        except grpc.RpcError as error:
            trailers = dict(error.trailing_metadata() or ())
            status = self.messages["google.rpc.Status"]()
            status.ParseFromString(trailers.get("grpc-status-details-bin", b""))
            return error.code().name, error.details(), self.details(status), trailers
        return "OK", "", {}, {}

    def run(self, *parts):
        for part in parts:
            try:
                part(self)
            except Exception:
                self.check(part.__name__, False, traceback.format_exc()[-600:])
                time.sleep(1)  # for the last words of a server that is why
                print("\n".join(filter(None, (one.died() for one in Server.started))), flush=True)
        if self.server is not None:
            try:
                self.server.stop()
                self.check("the_server_drains_and_exits_cleanly", True)
            except Exception as error:
                self.check("the_server_drains_and_exits_cleanly", False, error)
        return 1 if self.failed else 0


def wait_until(condition, seconds=5):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()
