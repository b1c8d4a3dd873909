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
        ("text", "BYTES", [-1]), ("compressed_text", "BYTES", [-1]), ("input_tokens", "UINT32", [-1]),
        ("kept_tokens", "UINT32", [-1])] and list(metadata.versions) == ["1"], metadata)
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


def several(script):
    """A tensor of n texts: n texts back, in its shape, each as it is alone."""
    client = Client(script)
    texts = [TEXT + f"text {i} " * i for i in range(6)] + ["", "short"]
    alone = [script.compress(script.channel())(script.request(text=text), timeout=30) for text in texts]
    for form, shape in (("contents", (8,)), ("contents_in_two_dimensions", (4, 2)), ("raw", (8, 1))):
        message = client.request("ModelInfer")(id="n")
        tensor = message.inputs.add(name="text", datatype="BYTES", shape=shape)
        if form == "raw":
            message.raw_input_contents.append(b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts))
        else:
            tensor.contents.bytes_contents.extend(t.encode() for t in texts)
        reply = client("ModelInfer", message=message)
        if form == "raw":
            data, got = reply.raw_output_contents[0], []
            while data:
                n = struct.unpack("<I", data[:4])[0]
                got.append(data[4:4 + n].decode())
                data = data[4 + n:]
            counts = [list(struct.unpack("<8I", raw)) for raw in reply.raw_output_contents[1:]]
        else:
            got = [one.decode() for one in reply.outputs[0].contents.bytes_contents]
            counts = [list(out.contents.uint_contents) for out in reply.outputs[1:]]
        script.check(f"texts_in_{form}_are_answered_as_alone_and_in_order",
                     got == [one.text for one in alone] and
                     counts == [[one.input_tokens for one in alone], [one.kept_tokens for one in alone]] and
                     all(list(out.shape) == list(shape) for out in reply.outputs), reply)
    def ask(n, elements, raw=None, **fields):
        message = client.request("ModelInfer")(**fields)
        tensor = message.inputs.add(name="text", datatype="BYTES", shape=n)
        if raw is not None:
            message.raw_input_contents.append(raw)
        else:
            tensor.contents.bytes_contents.extend(elements)
        return script.failure(lambda: client("ModelInfer", message=message))
    many = [b"a"] * 257
    for name, outcome in {"257_texts": ask((257,), many), "a_shape_that_overflows": ask((1 << 62, 4, 4), many),
                          "fewer_texts_than_the_shape": ask((3,), many[:2]),
                          "more_texts_than_the_shape": ask((3,), many[:4]),
                          "raw_bytes_behind_the_last": ask((2,), None, b"\1\0\0\0a" * 2 + b"x"),
                          "raw_bytes_of_one_text_less": ask((3,), None, b"\1\0\0\0a" * 2)}.items():
        script.check(f"{name}_is_refused", outcome[0] == "INVALID_ARGUMENT" and "BadRequest" in outcome[2], outcome[:2])
    code, _, _, _ = ask((256,), [b"word 7"] * 256)
    script.check("256_texts_are_answered", code == ("OK" if not script.args.fake else code) and
                 code in ("OK", "RESOURCE_EXHAUSTED"), code)
    code, text, details, _ = ask((4,), [b"fine", b"fine", b"ab\xff", b"fine"])
    script.check("one_text_that_is_refused_is_the_calls_answer", code == "INVALID_ARGUMENT" and
                 details["BadRequest"].field_violations[0].field == "text", (code, text))
    if script.args.fake:
        code, text, details, _ = ask((3,), [b"fine", b"@status=UNAVAILABLE x", b"@delay=200 fine"], id="seven")
        script.check("one_text_that_fails_is_the_calls_answer", code == "UNAVAILABLE" and
                     details["RequestInfo"].request_id == "seven", (code, text))


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
            ("one_element_in_a_shape_of_two", dict(shape=(2,)), "inputs"),
            ("an_empty_shape", dict(shape=(0,)), "inputs"),
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
    both = triton.InferInput("text", [2, 1], "BYTES")
    both.set_data_from_numpy(numpy.array([[TEXT.encode()], [b"a short one"]], dtype=object))
    reply = client.infer(model, [both], parameters={"target_ratio": "0.4"})
    script.check("tritonclient_infers_two_texts", reply.as_numpy("compressed_text").shape == (2, 1) and
                 reply.as_numpy("compressed_text")[0][0].decode() == own.text and
                 reply.as_numpy("kept_tokens")[0][0] == own.kept_tokens, reply.get_response())
    try:
        client.infer("nope", [text])
        script.check("tritonclient_sees_a_refusal", False)
    except triton.InferenceServerException as error:
        script.check("tritonclient_sees_a_refusal", "NOT_FOUND" in str(error.status()), error)


if __name__ == "__main__":
    script = Script(__doc__)
    sys.exit(script.run(probes, infer, several, refusals, scripted, triton))
