"""The Llama architecture in torch, as GGUF means it: rope turns adjacent pairs, weights are [out, in], the output
matrix is the embedding. Matrix products run in the type `work`: bfloat16 in training, float32 where exact logits
are wanted; the residual stream and the norms are float32. Norm and SwiGLU have derivatives of their own, because
torch's take several more passes over memory."""
import torch
from torch import nn
from torch.nn import functional as F

CONFIG = dict(vocab=2048, dim=256, layers=4, heads=8, kv_heads=8, ff=512, context=512, rope_base=10000.0, eps=1e-5)


class RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, eps, work):
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True).add_(eps))
        unit = x * scale
        ctx.save_for_backward(unit, scale, w)
        return (unit * w).to(work)

    @staticmethod
    def backward(ctx, grad):
        unit, scale, w = ctx.saved_tensors
        grad = grad.float()
        dw = (grad * unit).reshape(-1, w.shape[0]).sum(0)
        g = grad * w
        return g.sub_(unit * (g * unit).mean(-1, keepdim=True)).mul_(scale), dw, None, None


class SwiGlu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, gate_up):
        gate, up = gate_up.chunk(2, -1)
        s = torch.sigmoid(gate)
        act = gate * s
        ctx.save_for_backward(gate_up, s, act)
        return act * up

    @staticmethod
    def backward(ctx, grad):
        gate_up, s, act = ctx.saved_tensors
        out = torch.empty_like(gate_up)
        d_gate, d_up = out.chunk(2, -1)
        torch.mul(grad, act, out=d_up)
        # silu' = s + act * (1 - s) = s + act - act * s
        slope = torch.addcmul(s, act, s, value=-1).add_(act)
        torch.mul(slope.mul_(grad), gate_up.chunk(2, -1)[1], out=d_gate)
        return out


def rope_table(c, length):
    d = c["dim"] // c["heads"]
    angle = torch.outer(torch.arange(length).double(),
                        c["rope_base"] ** (-torch.arange(0, d, 2).double() / d))
    return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)


class Norm(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(c["dim"])), c["eps"]

    def forward(self, x, work):
        return RmsNorm.apply(x, self.weight, self.eps, work)


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, ff = c["dim"], c["ff"]
        self.heads = c["heads"]
        self.attn_norm, self.ffn_norm = Norm(c), Norm(c)
        self.attn_q, self.attn_k, self.attn_v = (nn.Linear(d, d, bias=False) for _ in range(3))
        self.attn_output = nn.Linear(d, d, bias=False)
        self.ffn_gate, self.ffn_up = nn.Linear(d, ff, bias=False), nn.Linear(d, ff, bias=False)
        self.ffn_down = nn.Linear(ff, d, bias=False)

    def forward(self, x, rope, mask, work):
        b, t, d = x.shape
        h = self.attn_norm(x, work)
        qkv = F.linear(h, torch.cat((self.attn_q.weight, self.attn_k.weight, self.attn_v.weight)).to(work))
        qk, v = qkv.split((2 * d, d), -1)
        qk = torch.view_as_complex(qk.float().view(b, t, 2 * self.heads, -1, 2)) * rope
        qk = torch.view_as_real(qk).flatten(-2).to(work).transpose(1, 2)
        q, k = qk.split(self.heads, 1)
        v = v.reshape(b, t, self.heads, -1).transpose(1, 2)
        scores = torch.matmul(q, k.transpose(-1, -2)) * (q.shape[-1] ** -0.5) + mask
        out = torch.matmul(torch.softmax(scores, -1), v).transpose(1, 2).reshape(b, t, d)
        x = x + F.linear(out, self.attn_output.weight.to(work))
        h = self.ffn_norm(x, work)
        gate_up = F.linear(h, torch.cat((self.ffn_gate.weight, self.ffn_up.weight)).to(work))
        return x + F.linear(SwiGlu.apply(gate_up), self.ffn_down.weight.to(work))


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.token_embd = nn.Embedding(c["vocab"], c["dim"])
        self.blk = nn.ModuleList(Layer(c) for _ in range(c["layers"]))
        self.output_norm = Norm(c)
        for name, w in self.named_parameters():
            if w.dim() == 2:
                nn.init.normal_(w, std=0.02)
            if name.endswith(("attn_output.weight", "ffn_down.weight")):
                with torch.no_grad():
                    w /= (2 * c["layers"]) ** 0.5
        self.rope = rope_table(c, c["context"])[:, None, :]
        self.mask = torch.full((c["context"], c["context"]), float("-inf")).triu(1)

    def hidden(self, ids, work=torch.float32):
        t = ids.shape[1]
        x = self.token_embd(ids)
        mask = self.mask[:t, :t].to(work)
        for layer in self.blk:
            x = layer(x, self.rope[:t], mask, work)
        return self.output_norm(x, work)

    def logits(self, hidden):
        return F.linear(hidden, self.token_embd.weight.to(hidden.dtype))

    def forward(self, ids):
        return self.logits(self.hidden(ids))
