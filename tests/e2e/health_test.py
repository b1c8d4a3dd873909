"""grpc.health.v1: Check, List and Watch."""
import sys

from support import Script

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
NAMES = ["", "pith.v1.CompressionService", "liveness"]


def check_and_list(script):
    request = script.messages["grpc.health.v1.HealthCheckRequest"]
    call = script.unary(script.channel(), "/grpc.health.v1.Health/Check",
                        "grpc.health.v1.HealthCheckRequest", "grpc.health.v1.HealthCheckResponse")
    for name in NAMES:
        script.check(f"check_of_{name or 'the_server'}_is_serving",
                     call(request(service=name), timeout=10).status == SERVING)
    code, _, _, _ = script.failure(lambda: call(request(service="nobody"), timeout=10))
    script.check("check_of_an_unknown_name_is_not_found", code == "NOT_FOUND", code)
    listing = script.unary(script.channel(), "/grpc.health.v1.Health/List",
                           "grpc.health.v1.HealthListRequest", "grpc.health.v1.HealthListResponse")
    reply = listing(script.messages["grpc.health.v1.HealthListRequest"](), timeout=10)
    script.check("list_has_every_name_serving",
                 {k: v.status for k, v in reply.statuses.items()} == dict.fromkeys(NAMES, SERVING), reply)


def watch(script):
    messages = script.messages
    watching = lambda channel: channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=messages["grpc.health.v1.HealthCheckRequest"].SerializeToString,
        response_deserializer=messages["grpc.health.v1.HealthCheckResponse"].FromString)
    ask = lambda channel, name: watching(channel)(
        messages["grpc.health.v1.HealthCheckRequest"](service=name), timeout=30)
    unknown = ask(script.channel(), "nobody")
    script.check("watch_of_an_unknown_name_says_so_and_stays", next(unknown).status == SERVICE_UNKNOWN)
    unknown.cancel()
    if script.args.pithd is None:
        return
    server = script.start()
    channel = script.channel(own=True, addr=server.addr)
    watches = {name: ask(channel, name) for name in NAMES}
    first = {name: next(w).status for name, w in watches.items()}
    script.check("a_watch_begins_with_the_status", set(first.values()) == {SERVING}, first)
    server.signal()
    rest = {}
    for name, w in watches.items():
        seen = []
        code, _, _, _ = script.failure(lambda: seen.extend(r.status for r in w))
        rest[name] = (seen, code)
    script.check("a_watch_is_told_of_the_drain_and_then_ended",
                 rest == {"": ([NOT_SERVING], "UNAVAILABLE"),
                          "pith.v1.CompressionService": ([NOT_SERVING], "UNAVAILABLE"),
                          "liveness": ([], "UNAVAILABLE")}, rest)
    server.stop()


if __name__ == "__main__":
    script = Script(__doc__)
    sys.exit(script.run(check_and_list, watch))
