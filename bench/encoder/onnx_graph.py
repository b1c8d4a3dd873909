"""The ModernBERT encoder with its heads as an ONNX graph for one sequence of a fixed length.

Written op by op (opset 20: LayerNormalization and Gelu are single nodes), the band mask is a
constant added in the local layers, as in an export. Needs numpy and onnx.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Graph:
    def __init__(self):
        self.nodes, self.constants, self.count = [], {}, 0

    def constant(self, name, array):
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.array(array, order="C"), name)
        return name

    def op(self, kind, *inputs, **attributes):
        self.count += 1
        out = f"t{self.count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out


def rope_table(theta, length, dim):
    angle = np.arange(length)[:, None] * theta ** (-np.arange(0, dim, 2) / dim)[None, :]
    both = np.concatenate([angle, angle], axis=1)
    return np.cos(both).astype(np.float32), np.sin(both).astype(np.float32)


def rotate(g, x, cos, sin, half):
    lo = g.op("Slice", x, g.constant("zero", np.array([0])), g.constant("half", np.array([half])), g.constant("last", np.array([-1])))
    hi = g.op("Slice", x, g.constant("half", np.array([half])), g.constant("far", np.array([1 << 30])), g.constant("last", np.array([-1])))
    turned = g.op("Concat", g.op("Neg", hi), lo, axis=-1)
    return g.op("Add", g.op("Mul", x, cos), g.op("Mul", turned, sin))


def attention(g, x, w, config, length, global_layer):
    d, heads = config["hidden_size"], config["num_attention_heads"]
    dim = d // heads
    qkv = g.op("MatMul", x, g.constant(w + "Wqkv.T", config["table"][w + "Wqkv.weight"].T))
    qkv = g.op("Reshape", qkv, g.constant("split", np.array([length, 3, heads, dim])))
    qkv = g.op("Transpose", qkv, perm=[1, 2, 0, 3])
    q, k, v = (g.op("Gather", qkv, g.constant(f"part{i}", np.array(i)), axis=0) for i in range(3))
    kind = "global" if global_layer else "local"
    cos, sin = rope_table(config[f"{kind}_rope_theta"], length, dim)
    cos, sin = g.constant(f"cos_{kind}", cos), g.constant(f"sin_{kind}", sin)
    q, k = rotate(g, q, cos, sin, dim // 2), rotate(g, k, cos, sin, dim // 2)
    scores = g.op("MatMul", q, g.op("Transpose", k, perm=[0, 2, 1]))
    scores = g.op("Mul", scores, g.constant("scale", np.float32(dim**-0.5)))
    if not global_layer:
        i = np.arange(length)
        band = np.where(np.abs(i[:, None] - i[None, :]) <= config["local_attention"] // 2, 0, np.finfo(np.float32).min)
        scores = g.op("Add", scores, g.constant("band", band.astype(np.float32)))
    mixed = g.op("MatMul", g.op("Softmax", scores, axis=-1), v)
    mixed = g.op("Reshape", g.op("Transpose", mixed, perm=[1, 0, 2]), g.constant("join", np.array([length, d])))
    return g.op("MatMul", mixed, g.constant(w + "Wo.T", config["table"][w + "Wo.weight"].T))


def layer(g, x, config, length, i):
    name, table, eps = f"encoder.layers.{i}.", config["table"], config["norm_eps"]
    normed = x
    if i > 0:
        weight = g.constant(name + "attn_norm", table[name + "attn_norm.weight"])
        normed = g.op("LayerNormalization", x, weight, epsilon=eps)
    global_layer = i % config["global_attn_every_n_layers"] == 0
    x = g.op("Add", x, attention(g, normed, name + "attn.", config, length, global_layer))
    weight = g.constant(name + "mlp_norm", table[name + "mlp_norm.weight"])
    normed = g.op("LayerNormalization", x, weight, epsilon=eps)
    both = g.op("MatMul", normed, g.constant(name + "Wi.T", table[name + "mlp.Wi.weight"].T))
    width = g.constant("width", np.array([config["intermediate_size"]] * 2))
    g.count += 1
    value, gate = f"value{g.count}", f"gate{g.count}"
    g.nodes.append(helper.make_node("Split", [both, width], [value, gate], axis=-1))
    mixed = g.op("Mul", g.op("Gelu", value), gate)
    return g.op("Add", x, g.op("MatMul", mixed, g.constant(name + "mlp.Wo.T", table[name + "mlp.Wo.weight"].T)))


def heads(g, x, table):
    logits = g.op("MatMul", x, g.constant("token.T", table["token_head.weight"].T))
    logits = g.op("Add", logits, g.constant("token.bias", table["token_head.bias"]))
    p = g.op("Gather", g.op("Softmax", logits, axis=-1), g.constant("part1", np.array(1)), axis=1)
    across = g.op("Unsqueeze", g.op("Transpose", x, perm=[1, 0]), g.constant("zero", np.array([0])))
    names = [f"span_conv.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")]
    w0, b0, w2, b2 = (g.constant(name, table[name]) for name in names)
    features = g.op("Gelu", g.op("Conv", across, w0, b0, pads=[2, 2]))
    span = g.op("Sigmoid", g.op("Conv", features, w2, b2, pads=[1, 1]))
    span = g.op("Reshape", span, g.constant("flat", np.array([-1])))
    half = g.constant("one_half", np.float32(0.5))
    return g.op("Mul", p, g.op("Add", half, g.op("Mul", half, span)))


def build(config, table, length):
    """Serialized model: input ids [length] int64, output score [length] f32."""
    g, config = Graph(), dict(config, table=table)
    x = g.op("Gather", g.constant("table", table["encoder.embeddings.tok_embeddings.weight"]), "ids", axis=0)
    x = g.op("LayerNormalization", x, g.constant("norm", table["encoder.embeddings.norm.weight"]), epsilon=config["norm_eps"])
    for i in range(config["num_hidden_layers"]):
        x = layer(g, x, config, length, i)
    x = g.op("LayerNormalization", x, g.constant("final", table["encoder.final_norm.weight"]), epsilon=config["norm_eps"])
    score = heads(g, x, table)
    graph = helper.make_graph(
        g.nodes, "modernbert", [helper.make_tensor_value_info("ids", TensorProto.INT64, [length])],
        [helper.make_tensor_value_info(score, TensorProto.FLOAT, [length])], list(g.constants.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return model.SerializeToString()
