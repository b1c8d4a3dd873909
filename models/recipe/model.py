"""The pith-mini classifier: a ModernBERT-shaped encoder, a token head and a span convolution.

Parameter names are those of the exported file (README.md lists them), so that a state dict and
model.safetensors differ in dtype only. Shapes: B documents, T tokens, D width.
"""

import dataclasses
import math

import torch
from torch import nn
from torch.nn import functional as F

KEEP, DROP = 1, 0  # classes of token_head
# Sequences over this many windows take the banded path; below it, it is slower (measured).
BANDED_WINDOWS_MIN = 5


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes chosen by the study (3.5 M parameters); conventions are ModernBERT's."""

    vocabulary: int = 8192
    width: int = 192
    layers: int = 6
    heads: int = 3
    mlp_width: int = 288
    span_channels: int = 32
    global_every: int = 3
    local_window: int = 64  # a local layer attends where |i - j| <= this
    global_theta: float = 160000.0
    local_theta: float = 10000.0
    norm_eps: float = 1e-5


def rotary_tables(tokens, head_dim, theta):
    """cos and sin [T, head_dim] of NeoX rotary positions 0..T-1."""
    frequency = theta ** (-torch.arange(0, head_dim, 2).float() / head_dim)
    angle = torch.arange(tokens).float()[:, None] * frequency
    angle = torch.cat((angle, angle), -1)
    return angle.cos(), angle.sin()


def rotate(x, tables):
    cos, sin = tables
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


def norm(config):
    return nn.LayerNorm(config.width, eps=config.norm_eps, bias=False)


def banded_attention(q, k, v, window, padding):
    """Attention where |i - j| <= window: blocks of `window` queries, each over three of keys.

    q, k, v [B, H, T, D]; padding [B, T]. The work grows with T, not with its square.
    """
    b, h, t, d = q.shape
    blocks = -(-t // window)
    short = blocks * window - t
    q, k, v = (F.pad(x, (0, 0, 0, short)) for x in (q, k, v))
    k, v = (F.pad(x, (0, 0, window, window)).unfold(2, 3 * window, window) for x in (k, v))
    outside = F.pad(padding, (window, window + short), value=True).unfold(1, 3 * window, window)
    query, key = torch.arange(window)[:, None], torch.arange(3 * window)[None] - window
    near = (query - key).abs() <= window
    # The diagonal is always allowed, so that no padded row is empty (it would give NaN).
    allowed = ((near & ~outside[:, :, None]) | (query == key)).flatten(0, 1)[:, None]
    by_block = lambda x: x.transpose(1, 2).flatten(0, 1)
    y = F.scaled_dot_product_attention(
        by_block(q.view(b, h, blocks, window, d)),
        by_block(k.mT),
        by_block(v.mT),
        attn_mask=allowed,
    )
    return y.view(b, blocks, h, window, d).transpose(1, 2).reshape(b, h, -1, d)[:, :, :t]


class Attention(nn.Module):
    """window: keys on each side of a local layer, None for a global one."""

    def __init__(self, config, window):
        super().__init__()
        self.heads, self.window = config.heads, window
        self.Wqkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.Wo = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x, tables, padding):
        b, t, d = x.shape
        q, k, v = self.Wqkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, tables), rotate(k, tables)
        if self.window is not None and t > BANDED_WINDOWS_MIN * self.window:
            y = banded_attention(q, k, v, self.window, padding)
        else:
            mask = allowed_pairs(padding, self.window)
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.Wo(y.transpose(1, 2).reshape(b, t, d))


class Mlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.Wi = nn.Linear(config.width, 2 * config.mlp_width, bias=False)
        self.Wo = nn.Linear(config.mlp_width, config.width, bias=False)

    def forward(self, x):
        a, gate = self.Wi(x).chunk(2, -1)
        return self.Wo(F.gelu(a) * gate)


class Layer(nn.Module):
    """Pre-norm block; the first layer has no attention norm (the embedding norm precedes it)."""

    def __init__(self, config, index):
        super().__init__()
        self.attn_norm = norm(config) if index else nn.Identity()
        is_global = index % config.global_every == 0
        self.attn = Attention(config, None if is_global else config.local_window)
        self.mlp_norm = norm(config)
        self.mlp = Mlp(config)

    def forward(self, x, tables, padding):
        x = x + self.attn(self.attn_norm(x), tables, padding)
        return x + self.mlp(self.mlp_norm(x))


class Encoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embeddings = nn.ModuleDict(
            {"tok_embeddings": nn.Embedding(config.vocabulary, config.width), "norm": norm(config)}
        )
        self.layers = nn.ModuleList(Layer(config, i) for i in range(config.layers))
        self.final_norm = norm(config)

    def forward(self, ids, padding):
        config, tokens = self.config, ids.shape[1]
        head_dim = config.width // config.heads
        tables = [
            rotary_tables(tokens, head_dim, theta)
            for theta in (config.local_theta, config.global_theta)
        ]
        x = self.embeddings["norm"](self.embeddings["tok_embeddings"](ids))
        for index, layer in enumerate(self.layers):
            is_global = index % config.global_every == 0
            x = layer(x, tables[is_global], padding)
        return self.final_norm(x)


def allowed_pairs(padding, window):
    """Boolean [B, 1, T, T], true where i may attend to j, the diagonal always; None for all."""
    if window is None and not padding.any():
        return None
    position = torch.arange(padding.shape[1])
    distance = (position[:, None] - position[None]).abs()
    allowed = ~padding[:, None, None, :]
    if window is not None:
        allowed = allowed & (distance <= window)
    return allowed | (distance == 0)


class PithMini(nn.Module):
    """forward(ids, padding) -> z_tok, z_span, hidden; score() applies the gate."""

    def __init__(self, config=Config()):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.token_head = nn.Linear(config.width, 2)
        self.span_conv = nn.Sequential(
            nn.Conv1d(config.width, config.span_channels, 5, padding=2),
            nn.GELU(),
            nn.Conv1d(config.span_channels, 1, 3, padding=1),
        )
        self.gamma_raw = nn.Parameter(torch.zeros(()))
        self._initialise()

    def _initialise(self):
        """Normal(0, .02); output projections smaller by sqrt(2 * layers) (study, step 7)."""
        for name, module in self.named_modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                shrink = math.sqrt(2 * self.config.layers) if name.endswith(".Wo") else 1.0
                nn.init.normal_(module.weight, std=0.02 / shrink)
        nn.init.zeros_(self.token_head.bias)

    @property
    def gamma(self):
        return F.softplus(self.gamma_raw)

    def forward(self, ids, padding):
        hidden = self.encoder(ids, padding)
        logits = self.token_head(hidden)
        inside = (~padding)[:, None].to(hidden.dtype)
        channels = self.span_conv[1](self.span_conv[0](hidden.transpose(1, 2) * inside))
        span = self.span_conv[2](channels * inside)[:, 0]
        return logits[..., KEEP] - logits[..., DROP], span, hidden

    def keep_logit(self, z_tok, z_span):
        """logit of score = 1 - P(evict), P(evict) = sigmoid(-z_tok - gamma * softplus(z_span))."""
        return z_tok + self.gamma * F.softplus(z_span)
