# ---
# jupyter:
#   kdlab:
#     lesson: 7
#     minutes: 85
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["step-header"]
# # 07 · Low rank, sharing, folding
#
# After this lesson you can
#
# - **split** a layer into two thin ones, nearest in weights or in outputs, and prove it is the best split;
# - **say** from which rank on that costs more than it saves;
# - **share** a few values among all weights, and derive their gradient;
# - **shrink** an embedding without giving two ids the same vector;
# - **fold** a batch norm exactly, and say when it is not exact.
#
# **Time:** 85 minutes. **You should know** lesson 06. The code is in `kdlab.factorization`.
#
# > **Interview question.** "A large embedding, a few wide convolutions, one wide linear layer: which compression goes
# > with which layer, and what does it save?"

# %%
import copy
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from kdlab import lab
from kdlab.data import load_digits
from kdlab.exercises import ask, board, check, predict
from kdlab.measure import count_parameters, latency, model_bytes
from kdlab.studies import compression, load_results
from kdlab.studies import factorization as study
from kdlab.studies.pruning import dense, recover
from kdlab.training import evaluate

torch.set_num_threads(1)
data = load_digits()
train, validation, test = data.train, data.validation, data.test
lab.show(lab.course_map(here=7), alt=lab.course_map_alt(here=7))

# %% [markdown] tags=["step-surprise"]
# ## The best copy is not the best
#
# Four CNNs of lesson 06. In each, the second convolution and the hidden layer, nearly all of its weights, are replaced
# by a product of two thin matrices of rank 4. Once the product *nearest to the weights* is taken; mathematics says
# which. Once another, found by feeding the network images of pure **noise**. Nothing is trained afterwards.

# %% [markdown] tags=["step-predict"]
# **Predict.** The dense networks have nearly all test digits right. How many of a hundred are right now?

# %%
predict("07-noise", {"nearest to the weights": None, "fitted on noise": None})

# %% tags=["claim", "hide-answer"]
from kdlab.factorization import reconstruction_error


def right(net):
    return evaluate(net, test.images, test.labels).accuracy


nets = [dense(seed) for seed in range(4)]  # trained: 30 epochs on 1,000 images
nearest = [study.low_rank(seed, 4, "plain") for seed in range(4)]
by_noise = [study.low_rank(seed, 4, "aware of noise") for seed in range(4)]
groups = {"nearest to the weights": nearest, "fitted on noise": by_noise}
measured = {name: 100 * fmean(map(right, group)) for name, group in groups.items()}
further = [
    reconstruction_error(net.get_submodule(layer), noisy.get_submodule(layer))
    > reconstruction_error(net.get_submodule(layer), near.get_submodule(layer))
    for net, near, noisy in zip(nets, nearest, by_noise, strict=True) for layer in study.FACTORED
]  # fmt: skip
print("fitted on noise, the weights are further off in every layer:", all(further))
print("and more digits are right, by more than five in a hundred:",
      measured["fitted on noise"] > measured["nearest to the weights"] + 5)  # fmt: skip

# %% tags=["nbval-ignore-output", "hide-answer"]
predict("07-noise", measured=measured)

# %% [markdown] tags=["step-idea"]
# ## The idea: fewer numbers behind the same layer
#
# | what | stored instead | saves |
# |---|---|---|
# | **low rank** | two thin matrices | bytes and multiplications |
# | **sharing** | a few values, and an index per weight | bytes |
# | **hashing** | fewer embedding rows than ids | bytes |
# | **folding** | the norm inside the layer before it | one pass over the features |
#
# A linear layer is $y = Wx + b$ with $W$ `(m, n)`. Of rank $r$: $W_r = AB$, $A$ `(m, r)`, $B$ `(r, n)`. That saves if
# $r(m + n) < mn$: the **break-even rank**, *half* of the full one for a square layer.
#
# **Nearest weights** (Eckart, Young). With the singular value decomposition $W = U \Sigma V^\top$, $\sigma_1 \ge
# \sigma_2 \ge \dots$, and $U_r$ the first $r$ columns of $U$, `(m, r)`:
#
# $$\min_{\operatorname{rank} M \le r} \|W - M\|_F^2 = \sum_{k > r} \sigma_k^2, \qquad W_r = U_r \,(U_r^\top W)$$
#
# **Nearest outputs.** With inputs $X$ `(N, n)` and any $S$ `(n, n)` such that $S S^\top = X^\top X / N$,
#
# $$\frac1N \sum_i \|(W - W_r)\, x_i\|^2 = \|(W - W_r) S\|_F^2$$
#
# so take $U$ from the decomposition of $W S$ instead, and keep $W_r = U_r(U_r^\top W)$. No label, no gradient.

# %% [markdown] tags=["step-build"]
# ## Build it
#
# Six lines; then a matrix that nearly has rank 2, with its factors and what they lose. And a **check by property**:
# the error is the dropped $\sigma$, no more; and among ten thousand random column spaces, each with the best fit it
# allows, none comes closer, neither to the weights nor, for the second version, to the outputs.


# %%
def root(X):  # inputs (N, n) -> S (n, n) with S S^T = X^T X / N
    values, vectors = torch.linalg.eigh(X.T @ X / len(X))
    return vectors * values.clamp(min=0).sqrt()


def my_factors(W, r, S=None):  # W (m, n)
    U = torch.linalg.svd(W if S is None else W @ S, full_matrices=False).U[:, :r]
    return U, U.T @ W  # (m, r), (r, n)


generator = torch.Generator().manual_seed(1)
draw = {"generator": generator, "dtype": torch.float64}
W = torch.randn(4, 2, **draw) @ torch.randn(2, 5, **draw) + 0.3 * torch.randn(4, 5, **draw)
X = torch.randn(50, 5, **draw) * torch.tensor([6.0, 1, 1, 1, 0.1])  # the first input varies most
A, B = my_factors(W, 2)
lab.show(
    lab.matrix_row({"W, (4, 5)": W, "A, (4, 2)": A, "B, (2, 5)": B, "lost: W - AB": W - A @ B}, per_row=4),
    alt="A matrix of four by five, its two factors of four by two and two by five, and what is lost, which is small.",
)

# %% tags=["claim"]
assert_close((W - A @ B).norm().square(), torch.linalg.svdvals(W)[2:].square().sum())
S = root(X)
assert_close(S @ S.T, X.T @ X / 50)
C, D = my_factors(W, 2, S)
Q = torch.linalg.qr(torch.randn(10_000, 4, 2, **draw)).Q  # (10000, 4, 2)
left = W - Q @ (Q.mT @ W)  # (10000, 4, 5)
print("nearer weights among 10,000:", int((left.norm(dim=(1, 2)) < (W - A @ B).norm()).sum()))
print("nearer outputs among 10,000:", int(((left @ S).norm(dim=(1, 2)) < ((W - C @ D) @ S).norm()).sum()))
print("the second is further off in the weights:", bool((W - C @ D).norm() > (W - A @ B).norm()),
      "and nearer in the outputs:", bool((X @ (W - C @ D).T).norm() < (X @ (W - A @ B).T).norm()))  # fmt: skip

# %% [markdown] tags=["step-kdlab"]
# ## The same in kdlab, and for convolutions
#
# A convolution's matrix is `(out, in * kh * kw)` and its inputs are the patches. Its factors are a convolution with $r$
# channels, then one of one by one.
#
# **How redundant is a layer?** The share of $\|W\|_F^2$ that rank $r$ keeps is a sum of the first $\sigma_k^2$ over all
# of them. The control: the *same weights in random places*.

# %% tags=["claim"]
from kdlab.factorization import break_even_rank, energy_kept, factorize, low_rank_conv, low_rank_linear, spectrum

layer = nn.Linear(5, 4).double()
layer.weight.data = W.clone()
for mine, inputs in (((A, B), None), ((C, D), X)):
    first, second = low_rank_linear(layer, 2, inputs=inputs)
    assert_close(second.weight @ first.weight, mine[0] @ mine[1], check_dtype=False)
net = nets[0].eval()
conv = copy.deepcopy(net.features[3]).double()  # 8 to 16 channels, 3x3: a matrix (16, 72)
maps = net.features[:3](train.images[:64]).double()  # its inputs, (64, 8, 8, 8)
patches = F.unfold(maps, 3, padding=1).transpose(1, 2).flatten(0, 1)  # (4096, 72)
A, B = my_factors(conv.weight.detach().flatten(1), 4, root(patches.detach()))
by_hand = F.conv2d(F.conv2d(maps, B.view(4, 8, 3, 3), padding=1), A[:, :, None, None], conv.bias)
assert_close(low_rank_conv(conv, 4, inputs=maps)(maps), by_hand)
print("yours are kdlab's, linear and convolution, by weights and by outputs")
thin = factorize(net, dict.fromkeys(study.FACTORED, 4))  # name -> rank
print(f"the whole network: {count_parameters(net):,} numbers, with rank 4 in two layers {count_parameters(thin):,}")

# %% tags=["claim"]
layers = {"hidden layer": net.classifier[2], "second convolution": net.features[3]}
panels = {}
for name, one in layers.items():
    shuffled = copy.deepcopy(one)
    order = torch.randperm(one.weight.numel(), generator=generator)
    shuffled.weight.data = one.weight.data.flatten()[order].view_as(one.weight)
    ranks = list(range(1, min(one.weight.flatten(1).shape) + 1))
    curves = {"trained": spectrum(one), "shuffled": spectrum(shuffled)}
    panels[f"rank, {name}"] = {key: (ranks, [energy_kept(s, r) for r in ranks]) for key, s in curves.items()}
    quarter = len(ranks) // 4
    ahead = energy_kept(curves["trained"], quarter) > 1.5 * energy_kept(curves["shuffled"], quarter)
    print(f"{name}, {tuple(one.weight.flatten(1).shape)}: ranks up to {break_even_rank(one)} save;", end=" ")
    print("at a quarter of the rank it keeps far more than shuffled:", ahead)
lab.show(
    lab.line_panels(panels, ylabel="share of squares kept", ylim=(0, 1), xscale="linear", xticks=[1, 8, 16, 24, 32]),
    alt="Share kept by rank. The trained hidden layer's curve rises much faster than that of its weights shuffled; the "
    "second convolution's lies hardly above that of its own.",
)

# %% [markdown] tags=["step-play"]
# ## Play
#
# **First a question:** drag the rank of the hidden layer down. Which breaks first, the plain or the activation-aware
# factors, and is that what their errors say? Where does the layer get *larger* than it was? And does anything get
# faster? What the panel draws is measured here: accuracy on validation images, and time.

# %% tags=["nbval-ignore-output"]
RANKS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 28, 32]
hidden = net.classifier[2]
H = net.classifier[:2](net.features(train.images[:256])).detach().double()  # the layer's inputs, (256, 256)


def with_rank(r, S=None):  # by hand, since kdlab refuses ranks that save nothing
    A, B = my_factors(hidden.weight.detach().double(), r, S)
    pair = nn.Sequential(nn.Linear(256, r, bias=False), nn.Linear(r, 32))
    pair[0].weight.data, pair[1].weight.data, pair[1].bias.data = B.float(), A.float(), hidden.bias.data.clone()
    thin = copy.deepcopy(net)
    thin.classifier[2] = pair
    return thin


kinds = {"plain": [with_rank(r) for r in RANKS], "activation-aware": [with_rank(r, root(H)) for r in RANKS]}
kinds["plain, then trained on"] = [recover(with_rank(r), train, 0, lr=0.004, steps=64) for r in RANKS]
accuracy = {name: [evaluate(one, validation.images, validation.labels).accuracy for one in group]
            for name, group in kinds.items()}  # fmt: skip
speed = {}
for size in (1, 32):
    found = latency({"dense": net, **dict(zip(RANKS, kinds["plain"], strict=True))}, test.images[:size], rounds=40)
    speed[f"{size} image" + "s" * (size > 1)] = [1 / found[r].ratio for r in RANKS]

# %% tags=["nbval-ignore-output"]
lab.rank_explorable(
    hidden.weight,
    accuracy,
    speed,
    ranks=RANKS,
    covariance=H.T @ H / len(H),
    dense_accuracy=evaluate(net, validation.images, validation.labels).accuracy,
    rank=4,
)

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# At a few ranks the aware factors keep many more digits, though their weights are further off: the error of the
# *outputs* follows accuracy better. At rank 32 nothing is lost and the layer is larger than before. A little
# training repairs most. And the small network's speed hardly changes: a second call costs what the numbers save.
# </details>

# %% [markdown]
# ## Share values
#
# Or keep the shape, and let all weights of a layer take one of $K$ values: a **codebook** $c$ `(K,)`, and an index
# $k(i, j)$ of $\lceil \log_2 K \rceil$ bits per weight. K-means chooses $c$. Moving one value moves all that share it,
# so by the chain rule its gradient is a *sum*:
#
# $$W_{ij} = c_{k(i, j)}, \qquad \frac{\partial L}{\partial c_k} = \sum_{(i, j):\, k(i, j) = k}
# \frac{\partial L}{\partial W_{ij}}$$


# %% tags=["claim"]
def my_kmeans(values, K):
    c = torch.linspace(float(values.min()), float(values.max()), K, dtype=values.dtype)
    for _ in range(20):
        index = (values.unsqueeze(-1) - c).abs().argmin(-1)
        c = torch.stack([values[index == k].mean() for k in range(K)])
    return c, index


from kdlab.factorization import kmeans_1d, share_weights, shared_bytes

c, index = my_kmeans(W, 3)
for mine, ours in zip((c, index), kmeans_1d(W, 3), strict=True):
    assert_close(mine, ours)
lab.show(
    lab.matrix_row({"10 W": 10 * W, "index k(i, j)": index, "10 c": 10 * c[None], "10 W, shared": 10 * c[index]},
                   per_row=4, decimals=0),
    alt="A matrix of four by five, the index of each weight's value from 0 to 2, the three values, and the matrix made "
    "of those three values.",
)  # fmt: skip
shared = share_weights(layer, 3)
shared(X).square().sum().backward()
full = c[index].requires_grad_()  # the same weight as 20 free numbers
F.linear(X, full, layer.bias).square().sum().backward()
by_sum = torch.stack([full.grad[index == k].sum() for k in range(3)])
assert_close(shared.parametrizations.weight.original.grad, by_sum)
print("the gradient of the codebook is the sum over the weights that share")

# %% [markdown]
# ## Embeddings: fewer rows than ids
#
# A look-up multiplies nothing; its cost is rows. **Hashing** gives several ids one row, and so the same vector for
# ever. **Quotient and remainder** combine two rows, $e(i) = Q_{\lfloor i / B \rfloor} \odot R_{i \bmod B}$, and no two
# ids have the same pair. Ten thousand ids: how many share their vector with another?

# %% tags=["claim"]
from kdlab.factorization import HashedEmbedding, QuotientRemainderEmbedding, collisions

ids, rows = 10_000, [200, 1000, 2000, 5000, 10_000]
hashed = [fmean(collisions(HashedEmbedding(ids, 4, b, seed=seed)) for seed in range(10)) for b in rows]
pairs = [QuotientRemainderEmbedding(ids, 4, buckets) for buckets in (100, 985, 1995, 4998, 9999)]
sizes = [len(pair.quotient) + len(pair.remainder) for pair in pairs]
shares = {"hashed": (rows, hashed), "quotient, remainder": (sizes, [collisions(pair) for pair in pairs])}
lab.show(
    lab.line_panels({"rows stored, for 10,000 ids": shares}, ylabel="share of ids\nwith a twin", ylim=(0, 1),
                    xticks=rows),
    alt="Share of ten thousand ids that have the same vector as another. Hashed: nearly all up to two thousand rows, "
    "still many with ten thousand rows. Quotient and remainder: none, from two hundred rows on.",
)  # fmt: skip
print("hashed into as many rows as ids, more than a quarter still have a twin:", hashed[-1] > 0.25)
print("quotient and remainder, 200 rows, ids with a twin:", int(ids * collisions(pairs[0])))

# %% [markdown]
# ## Fold a norm
#
# In evaluation mode a batch norm is a scale and a shift per channel, with fixed $\mu, \sigma^2$ `(C,)`, and a
# convolution before it can do both. It is the one trick here that costs nothing:
#
# $$w' = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}}\, w, \qquad b' = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}}\,(b - \mu)
# + \beta$$


# %% tags=["claim"]
def my_fold(conv, norm):
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()  # (C_out,)
    folded = copy.deepcopy(conv)
    folded.weight.data = conv.weight.data * scale.data[:, None, None, None]
    folded.bias.data = (conv.bias.data - norm.running_mean) * scale.data + norm.bias.data
    return folded


from kdlab.factorization import fold_batch_norm

mine, ours = my_fold(*net.features[:2]), fold_batch_norm(*net.features[:2])
assert_close(mine.weight, ours.weight)
assert_close(mine.bias, ours.bias)
folded = fold_batch_norm(net)  # every conv directly followed by its norm
assert_close(folded(test.images), net(test.images), rtol=1e-4, atol=1e-4)
print("the folded network gives the same logits;", "norms left:",
      sum(isinstance(part, nn.BatchNorm2d) for part in folded.modules()))  # fmt: skip

# %% [markdown] tags=["step-measure"]
# ## Measure
#
# Ten networks, paired by seed, no training. Factors by weights ("plain") against factors by outputs on 256, 32 or 8
# training images without their labels, or on 256 images of noise. **Predict**, for rank 8 in both layers, in points
# above plain:

# %%
predict("07-images", {"256 images": None, "8 images": None, "256 images of noise": None})

# %% tags=["claim", "hide-answer"]
results, record = load_results("factorization")
untrained = {title: results[f"{title}, no training"] for title in ("rank 8", "rank 4")}
lab.show(
    lab.forest_chart({title: one.contrasts for title, one in untrained.items()},
                     xlabel="points above the factors nearest to the weights, test images"),
    alt="Points above plain factors. Rank 8: two above with 256 images or noise, one with 32, four below with 8, none "
    "of which can be told. Rank 4: 23 above with 256 images, 17 with 32, 14 with noise, all better; 7 with 8 images.",
)  # fmt: skip
for title, one in untrained.items():
    print(title, {name: contrast.verdict for name, contrast in one.contrasts.items()})
print(f"the file: {record['date']}, torch {record['versions']['torch']}, {record['command']}")
arm = "aware of 256 images"
print("rank 4, images against noise:", untrained["rank 4"].against("aware of noise").contrasts[arm].verdict)
again = study.arms("rank 8, no training")[arm].run(0).test
print("one run repeated here agrees within 2 points:", abs(again - untrained["rank 8"].scores[arm][0]) < 0.02)
asked = {"256 images": arm, "8 images": "aware of 8 images", "256 images of noise": "aware of noise"}
eight = untrained["rank 8"].contrasts
predict("07-images", measured={name: 100 * eight[kind].difference for name, kind in asked.items()})

# %% [markdown]
# **What can noise know?** A control, for the hidden layer alone at rank 6. Its inputs come out of a ReLU: never
# negative, so their mean is far from zero. Take the mean out of the noise; or take no image, and protect the direction
# "all ones" by hand.


# %% tags=["nbval-ignore-output"]
def noise_inputs(one):
    return one.eval().classifier[:2](one.features(study.calibration("aware of noise"))).detach().double()


def right_with(S, one):
    A, B = my_factors(one.classifier[2].weight.detach().double(), 6, S)
    cut = copy.deepcopy(one)
    cut.classifier[2].weight.data = (A @ B).float()  # the product: enough to ask what is right
    return right(cut)


ones = torch.linalg.cholesky(torch.eye(256, dtype=torch.float64) + 1)  # S S^T = I + 1 1^T
fits = {
    "nearest weights": lambda one: None,
    "noise": lambda one: root(noise_inputs(one)),
    "noise, mean taken out": lambda one: root(noise_inputs(one) - noise_inputs(one).mean(0)),
    "all ones, no image": lambda one: ones,
}
kept = {name: 100 * fmean(right_with(fit(dense(k)), dense(k)) for k in range(10)) for name, fit in fits.items()}
print({name: f"{value:.1f} % right" for name, value in kept.items()})

# %% tags=["claim"]
print("all ones come within 5 points of noise:", abs(kept["all ones, no image"] - kept["noise"]) < 5)
print("noise without its mean loses over 4:", kept["noise, mean taken out"] < kept["noise"] - 4)

# %% [markdown]
# So that is the secret: plain factors spend their ranks as if all directions were equal, and most of what noise tells
# is that the inputs have a *mean*. (A look after the fact, not a planned test.) Real images add to it at rank 4. With
# eight images only, the factors serve eight images: at rank 8 the difference points the *wrong* way, though
# nothing can be told there.
#
# **And after training?** Thirty epochs more, eight settings tuned for every arm, at rank 2 and with two values a layer.
# The teacher is the dense network. "New factors" have the same shapes and *random* weights. **Predict**, in points
# above the plain factors trained on with labels:

# %%
predict("07-recovery", {"with the teacher": None, "new factors": None})

# %% tags=["claim", "hide-answer"]
trained = {title: results[title] for title in ("rank 2, trained on", "2 values, trained on")}
lab.show(
    lab.forest_chart({title: one.contrasts for title, one in trained.items()},
                     xlabel="points above training on with labels, test images"),
    alt="Points above training on with labels alone. Rank 2: label smoothing two, the teacher and aware factors three "
    "to four, new factors two to three, with wide intervals. Two values: half a point. Nothing can be told.",
)  # fmt: skip
for title, one in trained.items():
    base = one.scores[one.baseline]
    print(f"{title}, labels: {100 * fmean(base):.0f} % right;", {c.verdict for c in one.contrasts.values()})
ranked = trained["rank 2, trained on"].contrasts
predict("07-recovery", measured={name: 100 * ranked[name].difference for name in ("with the teacher", "new factors")})

# %% [markdown]
# Nothing can be told: not of the teacher, with or without aware factors, not of label smoothing. New factors do as well
# as those that carry the trained layer, as far as can be told: at so low a rank the *shape* seems to be what remains.
# And two values a layer, one bit per weight, come back to nine digits in ten.
#
# ## What it costs, beside what it saves
#
# One run of `benchmarks/compression.py`. "Packed" counts indices by their bits; memory is weights and working memory
# for a batch of 32. Digits first, with accuracy over ten networks and a rival from lesson 06, then its encoder.

# %% tags=["claim"]
accuracies, costs = load_results("compression")
digits, large = costs["tables"]["digits"], costs["tables"]["encoder"]
judged = accuracies["accuracy on digits"].contrasts
names = ["rank 8", "rank 8, activation-aware", "rank 4, activation-aware, trained on"]
names += ["4 values a layer", "4 values a layer, trained on", "norms folded", "half the channels, trained on"]
print(f"{'digits':37} {'file kB':>7} {'packed':>7} {'memory':>7} {'k MACs':>7}   points to dense")
for name in ("dense", *names):
    row = digits[name]
    kilo = [row["file"], row["packed"], row["memory"]["32"], row["macs"]]
    told = "" if name == "dense" else f"   {100 * judged[name].difference:+.1f}, {judged[name].verdict}"
    print(f"{name:37}", *(f"{value / 1e3:7.1f}" for value in kilo), told)
ratios = {f"digits: {name}": digits[name]["speedup"]["1"] for name in (names[1], names[3], *names[5:])}
ratios |= {f"encoder: {name}": large[name]["speedup"]["1"] for name in ("rank 64, feed-forward", "16 values a layer")}
lab.show(
    lab.ratio_bars(ratios, xlabel="times as fast as dense, one input", xlim=(0.3, 4)),
    alt="Times as fast as the dense network, one input. Digits: rank 8 about one, four values about half, norms folded "
    "and half the channels above one. Encoder: rank 64 nearly two, sixteen values below one.",
)
print("encoder, rank 64, more than 1.3 times as fast:", ratios["encoder: rank 64, feed-forward"] > 1.3)
print("shared values faster anywhere:", any(ratio > 1.1 for name, ratio in ratios.items() if "values" in name))

# %% tags=["nbval-ignore-output"]
encoder = compression.make_encoder()  # random weights: time does not depend on them, accuracy is not asked
slim = compression.encoder_variant("rank 64, feed-forward", encoder)
text = torch.randint(1, 8192, (1, 64), generator=torch.Generator().manual_seed(0))  # token ids
now = latency({"dense": encoder, "rank 64": slim}, text, rounds=30)
print(f"here and now: rank 64 is {1 / now['rank 64'].ratio:.2f} times as fast")

# %% [markdown] tags=["step-false"]
# ## When is this false?

# %% tags=["claim"]
try:
    low_rank_linear(hidden, 30)
except ValueError as error:
    print("kdlab:", error)
few = {K: fmean(right(study.shared(seed, K)) for seed in range(4)) for K in (2, 16)}
print("no training, 2 values a layer, under half right:", few[2] < 0.5)
print("no training, 16 values a layer, over nine in ten right:", few[16] > 0.9)
bits = {K: shared_bytes(share_weights(net, K)) for K in few}
print({f"{K} values": f"{model_bytes(net) / size:.1f} times smaller" for K, size in bits.items()})
before, after = digits["dense"], digits["rank 8, activation-aware"]
print("digits, rank 8, under two thirds of the multiplications:", after["macs"] < before["macs"] * 2 / 3)
print("digits, rank 8, over a tenth faster:", after["speedup"]["1"] > 1.1)
print("digits, rank 8, lower peak memory for a batch of 32:", after["memory"]["32"] < before["memory"]["32"])
print("the wide encoder, timed above, rank 64 faster than dense:", now["rank 64"].ratio < 1)

# %% [markdown]
# - **Bytes alone?** Four values a layer, trained on, lie nearer to dense than rank 4, in a third of the bytes. For
# time, half the channels lie about as near and run faster.
# - **Above the break-even** two factors are larger than one layer.
# - **Small layers** get no faster, and memory may *rise*: the thin layer's output is one more tensor to hold. Where
# matrices are wide, as in the encoder, time follows.
# - **Two values** without training break everything; the packed file is then small and useless.
# - **Few calibration images** may be worse than none.
# - **Sharing** saves no multiplication, and looking weights up costs time.

# %% [markdown] tags=["step-broken"]
# ## Broken runs
#
# **The product written back.** `layer.weight.data = A @ B` has rank $r$, and the accuracy of rank $r$. And what is
# saved?

# %% tags=["claim"]
broken = copy.deepcopy(net)
A, B = my_factors(hidden.weight.detach().double(), 8)
broken.classifier[2].weight.data = (A @ B).float()
thin = factorize(net, {"classifier.2": 8})
assert_close(broken(test.images), thin(test.images), rtol=1e-3, atol=1e-3)
sizes = {name: compression.file_bytes(one)[0] for name, one in {"dense": net, "broken": broken, "thin": thin}.items()}
print("the same logits as two thin layers; file in bytes:", sizes)

# %% [markdown]
# **Catch it:** count parameters, not ranks.
#
# **Folded, then compared in train mode.** There the norm divides by the *batch's* statistics, which no fixed weight
# can. Worse, every such forward pass moves the running ones, so the comparison itself spoils the network:

# %% tags=["claim"]
one = copy.deepcopy(net)
folded = nn.Sequential(my_fold(*one.features[:2]), one.features[2:], one.classifier)


def same():
    with torch.no_grad():
        return torch.allclose(one(test.images), folded(test.images), atol=1e-3)


print("eval mode, the same:", same())
one.train()
print("train mode, the same:", same())
one.eval()
print("eval mode again, the same:", same())
try:
    fold_batch_norm(copy.deepcopy(net).train())
except ValueError as error:
    print("kdlab:", str(error)[:40])

# %% [markdown] tags=["step-tool", "given"]
# ## The professional's tool
#
# Folding is in PyTorch: `torch.nn.utils.fusion.fuse_conv_bn_eval`. K-means on weights is scikit-learn's `KMeans` on a
# column of numbers; as a tool for phones, Core ML Tools calls it *palettization*. Composer's `Factorize` splits linear
# layers and convolutions, and by default leaves layers of fewer than 256 channels alone, since they would hardly gain
# (its documentation).

# %% tags=["claim"]
from sklearn.cluster import KMeans
from torch.nn.utils.fusion import fuse_conv_bn_eval

fused = fuse_conv_bn_eval(*net.features[:2])
assert_close(fused.weight, ours.weight)
assert_close(fused.bias, ours.bias)
print("PyTorch folds as kdlab does")
values = hidden.weight.detach().double().flatten()
start = torch.linspace(float(values.min()), float(values.max()), 16, dtype=torch.float64)
tool = KMeans(16, init=start[:, None].numpy(), n_init=1, tol=0, max_iter=1000).fit(values[:, None].numpy())
c, index = kmeans_1d(values, 16)
assert_close(torch.as_tensor(tool.cluster_centers_[:, 0]).sort().values, c)
print("scikit-learn's sixteen values of the hidden layer are kdlab's")

# %% [markdown] tags=["step-exercises"]
# ## Exercises
#
# The last one is the interview question from the top: your own words first, then the rubric.

# %%
ask("break-even-rank")

# %%
ask("what-truncation-loses")

# %%
ask("write-low-rank-linear")


# %%
def low_rank_linear(layer, rank):
    """nn.Linear(n, m) -> nn.Sequential(nn.Linear(n, rank, bias=False), nn.Linear(rank, m)), or the layer itself."""
    # your code here


check("write-low-rank-linear", low_rank_linear)

# %%
ask("when-activations-matter")

# %%
ask("clusters-and-bits")

# %%
ask("two-small-tables")

# %%
ask("fold-a-batch-norm")

# %%
ask("write-fold-batch-norm")


# %%
def fold_batch_norm(conv, norm):
    """nn.Conv2d and the nn.BatchNorm2d behind it -> weight [C_out, C_in, k, k] and bias [C_out] of one convolution."""
    # your code here


check("write-fold-batch-norm", fold_batch_norm)

# %%
ask("folded-while-training")

# %%
ask("which-compression-for-which-layer")

# %% [markdown]
# What you have done, what was hard, and what to look at again:

# %%
board()

# %% [markdown] tags=["step-takeaway"]
# ## Take away
#
# 1. Low rank is two thin layers. It saves below the break-even rank only, and time only where matrices are wide.
# 2. Nearest in weights is not nearest in outputs. Inputs are unequal, and a few hundred unlabelled ones tell how; what
# noise could tell of that was their mean. Eight images were too few.
# 3. Sharing stores an index and a few values: bytes, no multiplications. Its gradient is a sum.
# 4. Hashed ids have twins; two small tables give every id a pair of rows of its own.
# 5. Folding is exact, in evaluation mode, after the last training. With labels for all, the teacher's part in recovery
# could not be told here.
#
# **Papers.** Eckart, Young 1936, *The Approximation of One Matrix by Another of Lower Rank*. Denton et al. 2014,
# *Exploiting Linear Structure Within Convolutional Networks*, arXiv 1404.0736. Jaderberg, Vedaldi, Zisserman 2014,
# *Speeding up Convolutional Neural Networks with Low Rank Expansions*, arXiv 1405.3866. Wang et al. 2024, *SVD-LLM*,
# arXiv 2403.07378. Han, Mao, Dally 2016, *Deep Compression*, arXiv 1510.00149. Chen et al. 2015, *Compressing Neural
# Networks with the Hashing Trick*, arXiv 1504.04788. Shi et al. 2019, *Compositional Embeddings Using Complementary
# Partitions*, arXiv 1909.02107. Ioffe, Szegedy 2015, *Batch Normalization*, arXiv 1502.03167. Jacob et al. 2018,
# *Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference*, arXiv 1712.05877.
#
# **Next:** lesson 08 keeps every weight and gives it fewer bits.
