"""What PyTorch makes of a llama shape: peer_torch.py LAYERS WIDTH FFN HEADS KV VOCAB f32|bf16 THREADS TOKENS TEXTS

Random weights, one text a call (the usual loop around a model), all logits and their log-softmax. Prints tokens/s.
"""
import sys
import time

import torch

layers, d, ff, heads, kv, vocab = map(int, sys.argv[1:7])
dtype = torch.bfloat16 if sys.argv[7] == "bf16" else torch.float32
threads, n_tokens, n_texts = map(int, sys.argv[8:11])
torch.set_num_threads(threads)
torch.manual_seed(0)
head = d // heads


def matrix(rows, cols):
    return ((torch.rand(rows, cols) - 0.5) * (1.7 / cols**0.5)).to(dtype)


def norm(x):
    f = x.float()
    return (f * torch.rsqrt(f.pow(2).mean(-1, keepdim=True) + 1e-5)).to(dtype)


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


embed, out = matrix(vocab, d), matrix(vocab, d)
layer = [
    {
        "q": matrix(d, d), "k": matrix(kv * head, d), "v": matrix(kv * head, d), "o": matrix(d, d),
        "gate": matrix(ff, d), "up": matrix(ff, d), "down": matrix(d, ff),
    }
    for _ in range(layers)
]
angle = torch.outer(torch.arange(n_tokens).float(), 10000 ** (-torch.arange(0, head, 2).float() / head))
cos, sin = torch.cat((angle, angle), -1).cos().to(dtype), torch.cat((angle, angle), -1).sin().to(dtype)
mask = torch.full((n_tokens, n_tokens), float("-inf")).triu(1).to(dtype)


def score(ids):
    x = embed[ids]
    for w in layer:
        h = norm(x)
        q = (h @ w["q"].T).view(-1, heads, head).transpose(0, 1)
        k = (h @ w["k"].T).view(-1, kv, head).transpose(0, 1)
        v = (h @ w["v"].T).view(-1, kv, head).transpose(0, 1)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        k, v = k.repeat_interleave(heads // kv, 0), v.repeat_interleave(heads // kv, 0)
        p = torch.softmax((q @ k.transpose(1, 2)) / head**0.5 + mask, -1)
        x = x + (p @ v).transpose(0, 1).reshape(-1, d) @ w["o"].T
        h = norm(x)
        x = x + (torch.nn.functional.silu(h @ w["gate"].T) * (h @ w["up"].T)) @ w["down"].T
    logits = (norm(x) @ out.T).float()
    return torch.log_softmax(logits[:-1], -1).gather(1, ids[1:, None]).sum()


with torch.no_grad():
    texts = [torch.randint(0, 256, (n_tokens,)) for _ in range(n_texts + 1)]
    score(texts[-1])
    start = time.perf_counter()
    total = sum(float(score(t)) for t in texts[:-1])
    if not total < 0:
        raise SystemExit("no log-likelihood")
    print(n_tokens * n_texts / (time.perf_counter() - start))
