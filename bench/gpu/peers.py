"""What PyTorch makes of the same encoder, for stage 7 of bench/gpu/run.sh; one JSON for each run.

  peers.py matmul                   TFLOP/s of an 8192^3 product of random halves
  peers.py attention LENGTH         TFLOP/s of scaled_dot_product_attention, 12 heads, for each backend
  peers.py varlen LENGTH TOKENS     packed texts: variable-length attention, compiled layers, a graph
  peers.py padded LENGTH TOKENS     transformers' ModernBERT with SDPA, texts padded to the longest

Options: --device cuda|cpu, --shape base|tiny, --steps N, --dtype float16|bfloat16|float32.
LENGTH: tokens of each text or "mixed", the seeded lengths of gpu_encoder. Random weights. On a CPU
the packed attention is SDPA text by text and nothing is compiled: to prove the code, not to time it.
"""
import argparse
import inspect
import json
import time

import torch
from torch import nn
from torch.nn import functional as F

SHAPES = {"base": (768, 1152, 22, 12, 50368), "tiny": (128, 192, 4, 2, 500)}
WINDOW = 64  # keys on each side in local layers


def lengths_of(spec, tokens):
    """As bench/gpu/encoder.c packs them: texts until one does not fit."""
    state, lengths = 7, []
    for _ in range(tokens):  # its token ids come first
        state = (state * 1664525 + 1013904223) & 0xffffffff
    while True:
        if spec == "mixed":
            state = (state * 1664525 + 1013904223) & 0xffffffff
            n = 32 + (state >> 8) % 2017
        else:
            n = int(spec)
        if sum(lengths) + n > tokens:
            return lengths
        lengths.append(n)


def rope_table(positions, head_dim, theta, device, dtype):
    frequency = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    angle = positions.double().cpu()[:, None] * frequency
    both = torch.cat([angle, angle], dim=-1)
    return (both.cos().to(device, dtype)[:, None], both.sin().to(device, dtype)[:, None])


def rotate(x, table):
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
    return x * table[0] + turned * table[1]


try:
    from torch.nn.attention.varlen import varlen_attn
    HAS_WINDOW = "window_size" in inspect.signature(varlen_attn).parameters
except ImportError:
    HAS_WINDOW = False


def fused_varlen(q, k, v, cu, longest, window):
    """Flash attention over packed texts; PyTorch 2.10 has it without a window in its public form."""
    if HAS_WINDOW:
        return varlen_attn(q, k, v, cu, cu, longest, longest, window_size=(window, window))
    return torch.ops.aten._flash_attention_forward(
        q, k, v, cu, cu, longest, longest, 0.0, False, False, window_size_left=window,
        window_size_right=window)[0]


def varlen_attention(q, k, v, cu, longest, window):
    """q, k, v [tokens, heads, head_dim]; keys of the same text with |i - j| <= window."""
    if q.device.type == "cuda":
        return fused_varlen(q, k, v, cu, longest, window or -1)
    out = torch.empty_like(q)
    for begin, end in zip(cu[:-1].tolist(), cu[1:].tolist()):
        mask = None
        if window:
            i = torch.arange(end - begin)
            mask = (i[:, None] - i[None]).abs() <= window
        one = [t[begin:end].transpose(0, 1) for t in (q, k, v)]
        out[begin:end] = F.scaled_dot_product_attention(*one, attn_mask=mask).transpose(0, 1)
    return out


class Layer(nn.Module):
    def __init__(self, hidden, wide, heads, first):
        super().__init__()
        self.heads = heads
        self.attn_norm = nn.Identity() if first else nn.LayerNorm(hidden, bias=False)
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.wo = nn.Linear(hidden, hidden, bias=False)
        self.mlp_norm = nn.LayerNorm(hidden, bias=False)
        self.wi = nn.Linear(hidden, 2 * wide, bias=False)
        self.mlp_wo = nn.Linear(wide, hidden, bias=False)

    def forward(self, x, table, cu, longest, window):
        q, k, v = self.qkv(self.attn_norm(x)).view(x.shape[0], 3, self.heads, -1).unbind(1)
        mixed = varlen_attention(rotate(q, table), rotate(k, table), v.contiguous(), cu, longest,
                                 window)
        x = x + self.wo(mixed.reshape(x.shape))
        value, gate = self.wi(self.mlp_norm(x)).chunk(2, dim=-1)
        return x + self.mlp_wo(F.gelu(value) * gate)


class Packed(nn.Module):
    """ModernBERT over packed texts, without its heads: they are 1 % of the work."""

    def __init__(self, shape):
        super().__init__()
        hidden, wide, layers, heads, vocab = shape
        self.head_dim = hidden // heads
        self.embed = nn.Embedding(vocab, hidden)
        self.norm = nn.LayerNorm(hidden, bias=False)
        self.layers = nn.ModuleList(Layer(hidden, wide, heads, i == 0) for i in range(layers))
        self.final = nn.LayerNorm(hidden, bias=False)

    def forward(self, ids, cu, longest, tables):
        x = self.norm(self.embed(ids))
        for i, layer in enumerate(self.layers):
            x = layer(x, tables[i % 3 != 0], cu, longest, 0 if i % 3 == 0 else WINDOW)
        return self.final(x)


def packed_batch(lengths, vocab, device):
    cu = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=torch.int32)
    positions = torch.cat([torch.arange(n) for n in lengths])
    ids = torch.randint(vocab, (sum(lengths),), generator=torch.Generator().manual_seed(1))
    return ids.to(device), cu.to(device), positions


def seconds_of(body, steps, device):
    for _ in range(3):
        body()
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(steps):
        body()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / steps


def captured(body):
    """The body as a CUDA graph."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            body()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        body()
    return graph.replay


def report(name, lengths, seconds, extra=None):
    print(json.dumps({"peer": name, "texts": len(lengths), "tokens": sum(lengths),
                      "tok_per_s": sum(lengths) / seconds, "step_ms": 1e3 * seconds,
                      **(extra or {})}))


@torch.no_grad()
def run_varlen(args):
    shape, dtype = SHAPES[args.shape], getattr(torch, args.dtype)
    torch.manual_seed(0)
    model = Packed(shape).to(args.device, dtype).eval()
    lengths = lengths_of(args.rest[0], int(args.rest[1]))
    ids, cu, positions = packed_batch(lengths, shape[4], args.device)
    tables = [rope_table(positions, model.head_dim, theta, args.device, dtype)
              for theta in (160000.0, 10000.0)]
    compiled = "no"
    if args.device == "cuda":
        for layer in model.layers:  # one compilation for global, one for local layers
            layer.compile(mode="max-autotune-no-cudagraphs", dynamic=False)
        compiled = "layers"

    def body():
        return model(ids, cu, max(lengths), tables)

    body()
    step = captured(body) if args.device == "cuda" else body
    report("varlen", lengths, seconds_of(step, args.steps, args.device), {"compiled": compiled})


def padded_model(shape):
    from transformers import ModernBertConfig, ModernBertModel
    hidden, wide, layers, heads, vocab = shape
    config = ModernBertConfig(vocab_size=vocab, hidden_size=hidden, intermediate_size=wide,
                              num_hidden_layers=layers, num_attention_heads=heads,
                              max_position_embeddings=8192, local_attention=2 * WINDOW,
                              global_attn_every_n_layers=3, pad_token_id=0, cls_token_id=1,
                              sep_token_id=2, bos_token_id=1, eos_token_id=2,
                              attn_implementation="sdpa")
    return ModernBertModel(config)


@torch.no_grad()
def run_padded(args):
    shape, dtype = SHAPES[args.shape], getattr(torch, args.dtype)
    torch.manual_seed(0)
    model = padded_model(shape).to(args.device, dtype).eval()
    lengths = lengths_of(args.rest[0], int(args.rest[1]))
    ids = torch.randint(3, shape[4], (len(lengths), max(lengths)), device=args.device)
    mask = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()
    mask = mask.to(args.device)
    seconds = seconds_of(lambda: model(input_ids=ids, attention_mask=mask), args.steps, args.device)
    report("padded", lengths, seconds, {"padded_tokens": ids.numel()})


@torch.no_grad()
def run_matmul(args):
    n = 8192 if args.device == "cuda" else 256
    a, b = (torch.randn(n, n, device=args.device, dtype=getattr(torch, args.dtype))
            for _ in range(2))
    print(json.dumps({"n": n, "tflop_s":
                      2.0 * n ** 3 / seconds_of(lambda: a @ b, args.steps, args.device) / 1e12}))


@torch.no_grad()
def run_attention(args):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    n, heads, found = int(args.rest[0]), 12, {}
    q, k, v = (torch.randn(1, heads, n, 64, device=args.device, dtype=getattr(torch, args.dtype))
               for _ in range(3))
    for name in ("FLASH_ATTENTION", "CUDNN_ATTENTION", "EFFICIENT_ATTENTION", "MATH"):
        if name == "MATH" and args.device == "cuda":
            continue
        try:
            with sdpa_kernel([getattr(SDPBackend, name)]):
                seconds = seconds_of(lambda: F.scaled_dot_product_attention(q, k, v), args.steps,
                                     args.device)
            found[name.lower()] = 4.0 * 64 * heads * n * n / seconds / 1e12
        except RuntimeError:
            continue  # not on this device
    print(json.dumps(found))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["matmul", "attention", "varlen", "padded"])
    parser.add_argument("rest", nargs="*")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shape", choices=SHAPES, default="base")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--dtype", default="bfloat16")
    args = parser.parse_args()
    {"matmul": run_matmul, "attention": run_attention, "varlen": run_varlen,
     "padded": run_padded}[args.what](args)


if __name__ == "__main__":
    main()
