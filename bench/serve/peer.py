"""What a user would pick instead of Pith, with the same weights, tokenizer and texts.

  peer.py serve MODEL --protoset P   ONNX Runtime (fp32) behind a minimal Python gRPC server that speaks
                                     pith.v1.CompressionService/Compress: windows of 512 tokens, words by threshold
  peer.py headroom MODEL --clients N --seconds S --texts FILE
                                     Headroom's own in-process Kompress path (one inference at a time per process),
                                     N threads in a closed loop; prints one JSON object

Needs numpy, onnx, onnxruntime, tokenizers; serve also grpcio, headroom also headroom-ai and transformers.
"""
import argparse
import json
import os
import statistics
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in (("..", "encoder"), ("..", "..", "tests", "e2e")):
    sys.path.insert(0, os.path.join(HERE, *folder))
import numpy as np  # noqa: E402
import onnx_graph  # noqa: E402
import onnxruntime as ort  # noqa: E402

WINDOW = 512


def read_weights(folder):
    """safetensors of f32 or bf16 as f32 arrays."""
    with open(os.path.join(folder, "model.safetensors"), "rb") as file:
        data = file.read()
    size = int.from_bytes(data[:8], "little")
    header, table = json.loads(data[8:8 + size]), {}
    for name, t in header.items():
        if name == "__metadata__":
            continue
        raw = data[8 + size + t["data_offsets"][0]:8 + size + t["data_offsets"][1]]
        if t["dtype"] == "BF16":
            array = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
        elif t["dtype"] == "F32":
            array = np.frombuffer(raw, np.float32)
        else:
            raise ValueError(f"{name}: {t['dtype']} is not known here")
        table[name] = array.reshape(t["shape"]).copy()
    return table


class Model:
    """Scores of token ids; one ONNX Runtime session a length, made when it is first seen."""

    def __init__(self, folder, threads):
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            self.config = json.load(file)
        self.table = read_weights(folder)
        self.threads, self.sessions, self.lock = threads, {}, threading.Lock()

    def session(self, length):
        with self.lock:
            if length not in self.sessions:
                options = ort.SessionOptions()
                options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
                self.sessions[length] = ort.InferenceSession(
                    onnx_graph.build(self.config, self.table, length), options, providers=["CPUExecutionProvider"])
            return self.sessions[length]

    def scores(self, ids):
        return self.session(len(ids)).run(None, {"ids": np.asarray(ids, np.int64)})[0]


def compress(model, tokenizer, text):
    """Words of which a token scores over one half, joined by a space."""
    encoding = tokenizer.encode(text, add_special_tokens=False)
    kept = np.zeros(len(text) + 1, bool)
    for at in range(0, len(encoding.ids), WINDOW):
        ids = encoding.ids[at:at + WINDOW]
        for score, (start, end) in zip(model.scores(ids), encoding.offsets[at:at + WINDOW]):
            kept[start:end] |= score > 0.5
    out, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        if kept[at:at + len(word)].any():
            out.append(word)
        at += len(word)
    return " ".join(out), len(encoding.ids)


def serve(args):
    import concurrent.futures
    import signal

    import grpc
    from support import Messages
    from tokenizers import Tokenizer
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    messages = Messages(args.protoset)
    request, response = messages["pith.v1.CompressRequest"], messages["pith.v1.CompressResponse"]
    model = Model(args.model, args.threads)
    tokenizer = Tokenizer.from_file(os.path.join(args.model, "tokenizer.json"))
    for text in read_texts(args.texts):
        compress(model, tokenizer, text) # every length has its session before the port opens

    def handle(asked, _):
        text, n_tokens = compress(model, tokenizer, asked.text)
        return response(id=asked.id, text=text, input_tokens=n_tokens, model="onnxruntime")

    handler = grpc.unary_unary_rpc_method_handler(handle, request_deserializer=request.FromString,
                                                  response_serializer=response.SerializeToString)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(os.cpu_count()))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
        "pith.v1.CompressionService", {"Compress": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening on 127.0.0.1:{port}", file=sys.stderr, flush=True)
    signal.sigwait({signal.SIGTERM})
    server.stop(1).wait()


def read_texts(path):
    with open(path, encoding="utf-8") as file:
        return [row["text"] for row in json.load(file)]


class Session:
    """Stands where Headroom's ONNX session stands. One row at a time is what its CPU path asks for."""

    def __init__(self, model):
        self.model = model

    def run(self, names, feed):
        return [np.stack([self.model.scores(row) for row in feed["input_ids"]])]


def headroom(args):
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import logging

    from headroom.transforms import kompress_compressor as kc
    from transformers import PreTrainedTokenizerFast
    logging.disable(logging.ERROR)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=os.path.join(args.model, "tokenizer.json"), cls_token="[CLS]",
                                        sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]")
    config = kc.KompressConfig(enable_ccr=False, model_id="bench")
    kc._kompress_cache["bench"] = (kc._OnnxModel(Session(Model(args.model, args.threads))), tokenizer, "onnx_cpu")
    compressor = kc.KompressCompressor(config)
    texts = read_texts(args.texts)
    for text in texts:
        compressor.compress(text, allow_download=False)
    end, times, passed = time.monotonic() + args.seconds, [], [0]

    def client(i):
        while time.monotonic() < end:
            text = texts[i % len(texts)]
            i += args.clients
            began = time.monotonic()
            result = compressor.compress(text, allow_download=False)
            passed[0] += result.compressed == text
            times.append(time.monotonic() - began)
    threads = [threading.Thread(target=client, args=(i,)) for i in range(args.clients)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    times.sort()
    print(json.dumps({"rps": len(times) / took, "passed_through": passed[0],
                      "p50_ms": statistics.median(times) * 1e3 if times else None,
                      "p99_ms": times[int(0.99 * (len(times) - 1))] * 1e3 if times else None}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=("serve", "headroom"))
    parser.add_argument("model")
    parser.add_argument("--protoset")
    parser.add_argument("--texts", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10)
    parsed = parser.parse_args()
    serve(parsed) if parsed.mode == "serve" else headroom(parsed)
