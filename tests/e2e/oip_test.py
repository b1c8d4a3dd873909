"""The Open Inference Protocol: probes, metadata, ModelInfer in both forms, refusals; tritonclient where
it is installed."""
import struct
import sys
import time

from support import Script

TEXT = "2026-11-21 11:02:07 worker-3 ERROR retry 4 of 5 failed for /srv/data/part-00017 after 2.5s\n" * 20


class Client:
    def __init__(self, script, addr=None):
        self.script = script
        self.channel = script.channel(own=True, addr=addr)

    def request(self, name):
        return self.script.messages[f"inference.{name}Request"]

    def __call__(self, method, /, message=None, **fields):
        request = message if message is not None else self.request(method)(**fields)
        call = self.script.unary(self.channel, f"/inference.GRPCInferenceService/{method}",
                                 f"inference.{method}Request", f"inference.{method}Response")
        return call(request, timeout=30)

    def infer(self, text=TEXT, raw=False, model="", outputs=(), shape=(1,), datatype="BYTES", name="text",
              version="", **parameters):
        message = self.request("ModelInfer")(model_name=model, model_version=version, id="oip-1")
        tensor = message.inputs.add(name=name, datatype=datatype, shape=shape)
        data = text.encode() if isinstance(text, str) else text
        if raw:
            message.raw_input_contents.append(struct.pack("<I", len(data)) + data)
        else:
            tensor.contents.bytes_contents.append(data)
        for key, value in parameters.items():
            kind = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}
            setattr(message.parameters[key], kind[type(value)], value)
        for output in outputs:
            message.outputs.add(name=output)
        return self("ModelInfer", message=message)


def probes(script):
    client = Client(script)
    script.check("the_server_is_live_and_ready", client("ServerLive").live and client("ServerReady").ready)
    metadata = client("ServerMetadata")
    script.check("the_server_names_itself", metadata.name == "pith" and metadata.version != "", metadata)
    model = client.infer().model_name
    script.check("the_model_is_ready", client("ModelReady", name=model).ready and
                 client("ModelReady", name=model, version="1").ready)
    script.check("other_models_and_versions_are_not", not client("ModelReady", name="nope").ready and
                 not client("ModelReady", name=model, version="2").ready)
    metadata = client("ModelMetadata", name=model)
    tensors = [(t.name, t.datatype, list(t.shape)) for t in (*metadata.inputs, *metadata.outputs)]
    script.check("metadata_lists_the_tensors", tensors == [
        ("text", "BYTES", [1]), ("compressed_text", "BYTES", [1]), ("input_tokens", "UINT32", [1]),
        ("kept_tokens", "UINT32", [1])] and list(metadata.versions) == ["1"], metadata)
    code, _, details, _ = script.failure(lambda: client("ModelMetadata", name="nope"))
    script.check("metadata_of_another_model_is_not_found", code == "NOT_FOUND" and "ResourceInfo" in details,
                 (code, details))


def infer(script):
    client = Client(script)
    own = script.compress(script.channel())(script.request(text=TEXT), timeout=30)
    reply = client.infer()
    values = {t.name: t.contents for t in reply.outputs}
    script.check("model_infer_gives_the_bytes_of_compress",
                 values["compressed_text"].bytes_contents[0].decode() == own.text and
                 values["input_tokens"].uint_contents[0] == own.input_tokens and
                 values["kept_tokens"].uint_contents[0] == own.kept_tokens, reply)
    script.check("the_id_and_the_model_come_back", reply.id == "oip-1" and reply.model_name == own.model and
                 reply.model_version == "1", reply)
    raw = client.infer(raw=True, shape=(1, 1), model=own.model, version="1")
    numbers = [struct.unpack("<I", c[:4])[0] for c in raw.raw_output_contents]
    script.check("raw_contents_are_answered_raw",
                 raw.raw_output_contents[0][4:].decode() == own.text and
                 numbers == [len(own.text.encode()), own.input_tokens, own.kept_tokens] and
                 not raw.outputs[0].HasField("contents"), raw)
    some = client.infer(outputs=("kept_tokens", "compressed_text"))
    script.check("only_the_outputs_asked_for_are_sent",
                 [t.name for t in some.outputs] == ["kept_tokens", "compressed_text"], some)
    for value in (0.3, "0.3"):
        same = script.compress(script.channel())(script.request(text=TEXT, target_ratio=0.3), timeout=30)
        reply = client.infer(target_ratio=value)
        script.check(f"the_ratio_is_a_parameter_of_{type(value).__name__}",
                     reply.outputs[0].contents.bytes_contents[0].decode() == same.text, reply)
    for name, parameters in {"max_tokens": dict(max_tokens=50), "threshold": dict(threshold=0.4),
                             "profile": dict(profile="kompress"), "fold_repeats": dict(fold_repeats=True),
                             "triton": dict(sequence_id=7, priority=1, timeout=1000)}.items():
        script.check(f"parameter_{name}_is_accepted", client.infer(**parameters).id == "oip-1")


def refusals(script):
    client = Client(script)
    for name, asked, field in (
            ("a_ratio_over_one", dict(target_ratio=1.5), "parameters.target_ratio"),
            ("a_ratio_that_is_text", dict(target_ratio="much"), "parameters.target_ratio"),
            ("a_ratio_that_is_true", dict(target_ratio=True), "parameters.target_ratio"),
            ("half_a_token", dict(max_tokens="1.5"), "parameters.max_tokens"),
            ("two_budgets", dict(target_ratio=0.5, threshold=0.5), None),
            ("another_profile", dict(profile="fast"), "parameters.profile"),
            ("a_parameter_that_is_not_known", dict(ratio=0.5), "parameters"),
            ("another_tensor", dict(name="prompt"), "inputs"),
            ("another_datatype", dict(datatype="FP32"), "inputs"),
            ("two_elements", dict(shape=(2,)), "inputs"),
            ("a_negative_shape", dict(shape=(-1,)), "inputs"),
            ("a_shape_of_nine", dict(shape=(1,) * 9), "inputs"),
            ("an_output_that_is_not_there", dict(outputs=("logits",)), "outputs"),
            ("bytes_that_are_no_utf8", dict(text=b"ab\xff"), "text")):
        code, _, details, _ = script.failure(lambda: client.infer(**asked))
        found = details["BadRequest"].field_violations[0].field if "BadRequest" in details else None
        script.check(f"{name}_is_refused", code == "INVALID_ARGUMENT" and (field is None or found == field),
                     (code, found, details))
    for name, asked in (("model", dict(model="nope")), ("version", dict(version="2"))):
        code, _, details, _ = script.failure(lambda: client.infer(**asked))
        script.check(f"another_{name}_is_not_found", code == "NOT_FOUND", (code, details))
    request = client.request("ModelInfer")
    no_input = request()
    both = request()
    both.inputs.add(name="text", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"a")
    both.raw_input_contents.append(b"\1\0\0\0a")
    lying = request()
    lying.inputs.add(name="text", datatype="BYTES", shape=[1])
    lying.raw_input_contents.append(b"\5\0\0\0a")
    short = request()
    short.inputs.add(name="text", datatype="BYTES", shape=[1])
    short.raw_input_contents.append(b"\1\0")
    empty = request()
    empty.inputs.add(name="text", datatype="BYTES", shape=[1])
    for name, message in dict(no_input=no_input, both_contents=both, a_lying_length=lying, a_short_length=short,
                              no_contents=empty).items():
        code, _, details, _ = script.failure(lambda: client("ModelInfer", message=message))
        script.check(f"{name}_is_refused", code == "INVALID_ARGUMENT" and "BadRequest" in details, (code, details))


def scripted(script):
    if not script.args.fake:
        return
    client = Client(script)
    code, _, details, _ = script.failure(lambda: client.infer(text="@refuse=EXHAUSTED x"))
    script.check("a_full_queue_is_resource_exhausted", code == "RESOURCE_EXHAUSTED" and "RetryInfo" in details,
                 (code, details))
    server = script.start("--drain-ms", "4000")
    leaving = Client(script, server.addr)
    before = leaving("ServerReady").ready
    server.signal()
    time.sleep(0.15)
    script.check("a_draining_server_is_live_and_not_ready", before and not leaving("ServerReady").ready and
                 not leaving("ModelReady", name="fake").ready and leaving("ServerLive").live)
    server.stop()


def triton(script):
    try:
        import numpy
        import tritonclient.grpc as triton
    except ImportError as missing:
        print(f"skip tritonclient: {missing}")
        return
    client = triton.InferenceServerClient(script.addr)
    model = Client(script).infer().model_name
    script.check("tritonclient_finds_the_server_ready", client.is_server_live() and client.is_server_ready() and
                 client.is_model_ready(model))
    script.check("tritonclient_reads_metadata", client.get_server_metadata().name == "pith" and
                 client.get_model_metadata(model).inputs[0].name == "text")
    text = triton.InferInput("text", [1], "BYTES")
    text.set_data_from_numpy(numpy.array([TEXT.encode()], dtype=object))
    own = script.compress(script.channel())(script.request(text=TEXT, target_ratio=0.4), timeout=30)
    for outputs in (None, [triton.InferRequestedOutput("compressed_text"), triton.InferRequestedOutput("kept_tokens")]):
        reply = client.infer(model, [text], outputs=outputs, parameters={"target_ratio": "0.4"}, request_id="t")
        script.check("tritonclient_infers" + ("_named_outputs" if outputs else ""),
                     reply.as_numpy("compressed_text")[0].decode() == own.text and
                     reply.as_numpy("kept_tokens")[0] == own.kept_tokens, reply.get_response())
    try:
        client.infer("nope", [text])
        script.check("tritonclient_sees_a_refusal", False)
    except triton.InferenceServerException as error:
        script.check("tritonclient_sees_a_refusal", "NOT_FOUND" in str(error.status()), error)


if __name__ == "__main__":
    script = Script(__doc__)
    sys.exit(script.run(probes, infer, refusals, scripted, triton))
