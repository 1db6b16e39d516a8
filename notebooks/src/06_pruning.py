# ---
# jupyter:
#   kdlab:
#     lesson: 6
#     minutes: 80
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["step-header"]
# # 06 · Pruning
#
# After this lesson you can
#
# - **write** a magnitude mask and keep it through training;
# - **say** what zeros buy (nothing), what a sparse file buys, and what only structure buys;
# - **choose** how sparse each layer may become, under a budget;
# - **cut** channels out of two layers that depend on each other;
# - **judge** whether a teacher, a better score or a lottery ticket helped.
#
# **Time:** 80 minutes. **You should know** lesson 03. The code is in `kdlab.pruning`.
#
# > **Interview question.** "I pruned nine tenths of my model's weights. Why is it neither smaller nor faster, and what
# > do you do?"

# %%
import copy
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune
from torch.testing import assert_close

from kdlab import lab
from kdlab.data import load_digits
from kdlab.exercises import ask, board, check, predict
from kdlab.experiments import contrast
from kdlab.measure import count_macs, count_parameters, latency, model_bytes
from kdlab.studies import compression, load_results
from kdlab.studies import pruning as study
from kdlab.training import evaluate, fit, predict_logits

torch.set_num_threads(1)
data = load_digits()
lab.show(lab.course_map(here=6), alt=lab.course_map_alt(here=6))

# %% [markdown] tags=["step-surprise"]
# ## Nine of ten weights are gone
#
# A text encoder: six layers of width 384, the size of a good sentence embedder (its weights are random here, which a
# matrix product cannot tell). In its linear layers, nine of ten weights, the smallest, become zero: by hand, and once
# more with PyTorch's own `torch.nn.utils.prune`, as its tutorial does. (The embeddings stay.)

# %%
encoder = compression.make_encoder()
pruned = {name: compression.encoder_variant(name, encoder) for name in ("mask, 90 %", "mask, 90 %, still hooked")}
text = torch.randint(1, 8192, (1, 64), generator=torch.Generator().manual_seed(0))  # token ids, (1, 64)

# %% [markdown] tags=["step-predict"]
# **Predict.** How many times smaller is the file, and how many times faster a forward pass?

# %%
predict("06-ninety-percent", {"file, times smaller": None, "times faster": None})

# %% tags=["claim", "hide-answer"]
files = {name: compression.file_bytes(model)[0] for name, model in {"dense": encoder, **pruned}.items()}
for name, size in files.items():
    print(f"{name:26} {size / 1e6:.1f} MB")

# %% tags=["nbval-ignore-output", "hide-answer"]
speed = latency({"dense": encoder, **pruned}, text, rounds=30)
faster = 1 / speed["mask, 90 %"].ratio
print({name: f"{1 / one.ratio:.2f} times as fast" for name, one in speed.items()})
predict(
    "06-ninety-percent", measured={"file, times smaller": files["dense"] / files["mask, 90 %"], "times faster": faster}
)

# %% [markdown] tags=["step-idea"]
# ## The idea: three questions
#
# A zero is a number like any other: it is stored, loaded and multiplied. PyTorch's hooks keep the old weight *and* the
# mask, and multiply them on every pass. So pruning is three questions, and most texts answer one.
#
# | question | answers |
# |---|---|
# | **Which** weights may go? | the smallest, or those that the loss or the inputs say |
# | **When**, and what repairs the rest? | at once or gradually; training on, with or without a teacher |
# | **What for?** | bytes: a sparse format; time: whole rows, channels, layers |
#
# With weights $w \in \mathbb{R}^n$, a **mask** $m \in \{0, 1\}^n$ and **sparsity** $s$, the share that goes:
#
# $$\tilde w = m \odot w, \qquad m_i = 0 \text{ for the } \operatorname{round}(s\,n) \text{ lowest scores } S_i$$
#
# $$S_i = |w_i| \;\text{(magnitude)} \qquad S_i = \tfrac12 h_{ii} w_i^2 \;\text{(OBD)} \qquad
# S_{ij} = |w_{ij}|\,\|x_j\|_2 \;\text{(Wanda)}$$
#
# $h_{ii}$ is the loss's curvature along $w_i$ (estimated by mean squared gradients), $x_j$ the values of input $j$
# over a batch; Wanda's lowest are taken within each row. OBD comes from Taylor: at a minimum the gradient is zero, so
# dropping $w_i$ costs about $\tfrac12 h_{ii} w_i^2$, if nothing else moves.

# %% [markdown] tags=["step-build"]
# ## Build it
#
# A mask over several layers *together* (**global**) lets a layer of small weights lose more than others.


# %%
def my_masks(weights, sparsity):
    scores = torch.cat([w.abs().flatten() for w in weights])  # (n,)
    lowest = scores.argsort(stable=True)[: round(sparsity * len(scores))]
    kept = torch.ones(len(scores), dtype=torch.bool)
    kept[lowest] = False
    return [part.view_as(w) for part, w in zip(kept.split([w.numel() for w in weights]), weights, strict=True)]


generator = torch.Generator().manual_seed(3)
loud, quiet = torch.randn(3, 4, generator=generator), 0.4 * torch.randn(3, 4, generator=generator)
masks = my_masks([loud, quiet], 0.5)
kept = [w.masked_fill(~mask, 0) for w, mask in zip((loud, quiet), masks, strict=True)]
shown = {"one layer": loud, "kept": kept[0], "another": quiet, "kept ": kept[1]}
lab.show(
    lab.matrix_row(shown, per_row=4, together=True, decimals=2),
    alt="Two weight matrices, three by four, and what a global mask keeps: most of the first, with large weights, and "
    "few of the second, with small ones.",
)

# %% [markdown]
# **Check by property.** Exactly half goes; a common factor changes nothing; and removing by *size* is not removing by
# *worth*: a weight of one half on an input of length ten moves the output more than a weight of two on an input of one.

# %% tags=["claim"]
print("exactly half goes:", sum(int((~m).sum()) for m in masks) == 12)
print("scaled by ten, the same masks:", all(map(torch.equal, my_masks([10 * loud, 10 * quiet], 0.5), masks)))
row, inputs = torch.tensor([0.5, 2.0]), torch.tensor([[6.0, 0.6], [8.0, 0.8]])  # weights (2,), inputs (N, 2)
lost = {f"drop weight {i}": float((inputs[:, i] * row[i]).norm()) for i in range(2)}
wanda = row.abs() * inputs.norm(dim=0)
print("magnitude drops weight", int(row.abs().argmin()), "and Wanda weight", int(wanda.argmin()))
print("the outputs change by, in length:", lost)

# %% [markdown] tags=["step-kdlab"]
# ## The same in kdlab, and in PyTorch
#
# `magnitude_mask` takes a tensor or a model and only computes; `apply_mask` zeroes. The network of this lesson is a
# small CNN with batch norms, trained on digits.

# %% tags=["claim"]
from kdlab.pruning import (
    allocate,
    apply_mask,
    magnitude_mask,
    prunable,
    prune_channels,
    save_sparse,
    sparse_bytes,
    sparsity_of,
    wanda_scores,
)

net = study.dense(0)  # trained on 1,000 images
assert torch.equal(magnitude_mask(torch.cat([loud, quiet]), 0.5), torch.cat(masks))
for sparsity in (0.3, 0.9):
    hooked = copy.deepcopy(net)
    layers = [(hooked.get_submodule(name.removesuffix(".weight")), "weight") for name in prunable(net)]
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=sparsity)
    ours = magnitude_mask(net, sparsity)
    same = all(torch.equal(layer.weight_mask.bool(), m) for (layer, _), m in zip(layers, ours.values(), strict=True))
    print(f"sparsity {sparsity}: our masks are torch.nn.utils.prune's: {same}")
print({name.removesuffix(".weight"): f"{weight.numel():,} weights" for name, weight in prunable(net).items()})
linear = nn.Linear(2, 1, bias=False)
linear.weight.data = row[None]
assert_close(wanda_scores(linear, inputs)["weight"][0], wanda)

# %% [markdown]
# ## Bytes: when is sparse smaller?
#
# Two formats. A **bitmap** spends one bit per weight and stores the values that are left. **CSR** stores each value
# with its column, an int32. Which is smaller, and from which sparsity on is CSR smaller than dense at all?

# %% tags=["claim"]
shape, steps = (1000, 1000), [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99]
million = 1_000_000
sizes = {
    f"{packing}, {kind}": (steps, [sparse_bytes(shape, round((1 - s) * million), packing, value_bytes=width)
                                  / (width * million) for s in steps])
    for kind, width in {"float32": 4, "int8": 1}.items() for packing in ("bitmap", "csr")
}  # fmt: skip
lab.show(
    lab.line_panels({"sparsity": sizes}, ylabel="size / dense size", ylim=(0, 5), xscale="linear"),
    alt="Size over dense size by sparsity. Float32: bitmap falls below one at once, CSR at one half. Int8: the bitmap "
    "falls below one from one eighth on, CSR only from four fifths on.",
)
with tempfile.TemporaryDirectory() as folder:
    zeroed = compression.encoder_variant("mask, 90 %", encoder)
    written = {kind: save_sparse(zeroed, Path(folder) / kind, format=kind) for kind in ("dense", "bitmap", "csr")}
print({kind: f"{size / 1e6:.1f} MB" for kind, size in written.items()})
print("the smallest file is the bitmap's:", min(written, key=written.get) == "bitmap")

# %% [markdown]
# The bitmap wins until hardly any weight is left, then CSR. The file shrinks by a factor of three, not ten: the
# embeddings stay, and the bitmap costs its bits. Loaded again it is dense, and not faster. And small values make sparse
# formats *worse*: with one byte per weight, CSR needs four fifths gone.

# %% [markdown]
# ## How sparse may each layer be?
#
# Prune one layer at a time, leave the others alone, and look at the validation loss: a **sensitivity scan**. Then share
# out a budget, so that the losses' sum is least and enough weights go. (As if layers did not depend on each other; and
# plan and check use the same images here.)

# %% tags=["claim"]
validation = data.validation


def loss_of(model):
    return float(F.cross_entropy(predict_logits(model, validation.images), validation.labels))


from kdlab.pruning import sensitivity

scan = sensitivity(net, loss_of, study.SCANNED, progress=False)  # layer -> one loss per sparsity
capped = {name: (study.SCANNED, [min(cost, 3.0) for cost in costs]) for name, costs in scan.items()}
lab.show(
    lab.line_panels(
        {"sparsity of this layer alone": capped},
        ylabel="validation loss, nats, capped at 3",
        ylim=(0, 3.1),
        xscale="linear",
    ),
    alt="Validation loss by the sparsity of one layer at a time. The large hidden layer stays low until nine of ten "
    "weights are gone, the convolutions and the output layer rise earlier.",
)
counts = {name.removesuffix(".weight"): weight.numel() for name, weight in prunable(net).items()}
plan = allocate(scan, counts, study.SCANNED, 0.8)
print("plan for 80 %: the hidden layer loses most:", max(plan, key=plan.get) == "classifier.2")
planned, uniform = copy.deepcopy(net), copy.deepcopy(net)
apply_mask(planned, magnitude_mask(planned, plan))
apply_mask(uniform, magnitude_mask(uniform, 0.8, scope="layer"))
print("lower loss than 80 % of every layer:", loss_of(planned) < loss_of(uniform) / 2)

# %% [markdown] tags=["step-play"]
# ## Play
#
# **First a question:** drag the sparsity until accuracy breaks. Which layer thins out first, with `global` and with
# `per layer`? What happens to the dense file? And how far does a little training move the edge?

# %% tags=["nbval-ignore-output"]
accuracy, on_disk, times = {}, {}, {}
for shown, scope in {"global": "global", "per layer": "layer"}.items():
    kinds = {"pruned": [], "pruned, then trained on": []}
    bytes_of = {"dense": [], "bitmap": [], "csr": []}
    for sparsity in lab.SPARSITIES:
        masks = magnitude_mask(net, sparsity, scope=scope)
        one = copy.deepcopy(net)
        apply_mask(one, masks)
        kinds["pruned"].append(evaluate(one, validation.images, validation.labels).accuracy)
        with tempfile.TemporaryDirectory() as folder:
            for kind, known in bytes_of.items():
                known.append(save_sparse(one, Path(folder) / kind, format=kind))
        study.recover(one, data.train, 0, lr=0.004, masks=masks, steps=64)  # four epochs
        kinds["pruned, then trained on"].append(evaluate(one, validation.images, validation.labels).accuracy)
    accuracy[shown], on_disk[shown] = kinds, bytes_of
weights = {name.removesuffix(".weight"): weight for name, weight in prunable(net).items()}
lab.pruning_explorable(weights, accuracy, on_disk, sparsity=0.8)

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# Global: the hidden layer, `classifier.2`, thins out first, and the first convolution is spared. Per layer: all shares
# are equal, the first convolution's few weights go too, and accuracy breaks much earlier. The dense file never changes.
# The bitmap's shrinks from the first step, CSR's is larger than dense until half is gone. Four epochs move the edge far
# to the right.
# </details>

# %% [markdown] tags=["step-measure"]
# ## Measure
#
# Ten networks from ten seeds, each pruned by seven scores and *not* trained again. Wanda compares weights within a row
# only, so its fair rival is magnitude within a row. **Predict** which score keeps most, with half the weights gone.

# %%
predict("06-scores", {"keeps most": None})  # "magnitude", "OBD", "Wanda", "budget" or "random"

# %% tags=["claim", "hide-answer"]
results, record = load_results("pruning")
half, most = results["50 % of the weights, no training"], results["75 % of the weights, no training"]
names = [name for name in study.SCORES if name not in ("magnitude", "random")]
lab.show(
    lab.forest_chart(
        {title: {name: one.contrasts[name] for name in names}
         for title, one in {"half gone": half, "three quarters gone": most}.items()},
        xlabel="points above global magnitude, test images, no training",
    ),
    alt="Points above global magnitude pruning. Layer by layer, row by row and Wanda lose nine to fourteen points with "
    "half the weights gone and about sixty with three quarters gone; OBD gains a little, the budget cannot be told.",
)  # fmt: skip
print({name: half.contrasts[name].verdict for name in (*names, "random")})
pairs = zip(half.scores["Wanda"], half.scores["magnitude, row by row"], strict=True)
print(f"random weights gone: {100 * half.contrasts['random'].difference:+.0f} points")
print("Wanda against magnitude in rows:", contrast([a - b for a, b in pairs]).verdict)
again = study.arms("50 % of the weights, no training")["OBD"].run(0).test
print("one run repeated here agrees within 2 points:", abs(again - half.scores["OBD"][0]) < 0.02)

# %% tags=["hide-answer"]
best = max(half.contrasts, key=lambda name: half.contrasts[name].difference)
predict("06-scores", measured={"keeps most": best})

# %% [markdown]
# Among scores that look at something, *what is compared with what* mattered more than which: all that share out
# sparsity evenly, over layers or rows, lose far more here than global ones. (In language models, where rows are
# thousands of inputs wide and layers alike, Wanda's rows are its strength.)
#
# ## Does the teacher bring it back?
#
# Now train on after pruning, thirty epochs for every arm, each tuned over eight settings. The natural teacher is the
# network *before* pruning. (Verdicts are corrected for the number of arms, intervals are not. With "50 labels" only
# those fifty images are left, except for "all images", which the teacher answers.) **Predict** what it adds to the
# labels, in points: all labels, nine of ten weights gone; and with fifty labels left, nineteen of twenty gone.

# %%
predict("06-teacher", {"all labels": None, "50 labels left": None})

# %% tags=["hide-answer"]
nine, few = results["90 % of the weights"], results["95 %, 50 labels left"]
added = {"all labels": nine, "50 labels left": few}
points = {name: 100 * one.contrasts["with the teacher"].difference for name, one in added.items()}
predict("06-teacher", measured=points)

# %% tags=["claim", "hide-answer"]
chosen = ["label smoothing", "with the teacher", "gradual", "OBD", "budget"]
tickets = ["mask on first weights", "mask on early weights", "mask on new weights"]
regimes = {title: results[title] for title in ("90 % of the weights", "98 % of the weights")}
lab.show(
    lab.forest_chart(
        {**{title: {name: one.contrasts[name] for name in (*chosen, *tickets)} for title, one in regimes.items()},
         "95 %, 50 labels left": {n: few.contrasts[n] for n in few.contrasts if n != "not trained on"}},
        xlabel="points above training on with labels, test images",
    ),
    alt="Points above training on with labels. Ninety percent gone: small differences. Ninety-eight percent gone: "
    "intervals of ten points and more; only the gradual schedule is better. Fifty labels left: the teacher gains.",
)  # fmt: skip
for title, one in {**regimes, "95 %, 50 labels left": few}.items():
    told = [name for name in one.contrasts if one.contrasts[name].verdict == "better"]
    print(f"{title}: better than labels: {', '.join(told) or 'none'}")
print("90 %:", {name: nine.contrasts[name].verdict for name in tickets}, end="; ")
runs = zip(nine.scores[tickets[0]], nine.scores[tickets[2]], strict=True)
print("first against new:", contrast([a - b for a, b in runs]).verdict)
print("98 %, OBD, best without training:", regimes["98 % of the weights"].contrasts["OBD"].verdict, end="; ")
print("weights it leaves the hidden layer:", int(study.masks_by("OBD", net, 0.98)["classifier.2.weight"].sum()))
print(f"the file: {record['date']}, torch {record['versions']['torch']}, {record['command']}")

# %% [markdown]
# With all labels nothing can be told of the teacher; with few it is worth something. (Some arms chose the largest
# learning rate on offer, and a network that dies in one seed of ten makes an interval wide.)
#
# *When* counts once nearly everything goes: the **gradual** schedule (`gradual_sparsity`) raises sparsity by a cubic,
# fast while there is much to spare. OBD, best without training, is then at chance: it emptied a layer.
#
# The **lottery ticket** rewinds: the trained network's mask on its *first* weights, trained again
# ("early": those after three epochs). At nine tenths it cannot be told from the pruned network, while the same mask on
# *new* weights does worse: the mask fits its start.

# %% [markdown]
# ## Time: cut channels
#
# A channel that goes takes along a row of its layer, its bias, its four numbers in the batch norm, *and* the next
# layer's inputs. By hand, on one dependent pair:

# %% tags=["claim"]
scores = net.features[0].weight.detach().abs().sum(dim=(1, 2, 3))  # (8,): one per filter
keep = scores.topk(4).indices.sort().values
mine = copy.deepcopy(net)
first, norm, second = (mine.features[i] for i in (0, 1, 3))
for part, names in ((first, ("weight", "bias")), (norm, ("weight", "bias", "running_mean", "running_var"))):
    for name in names:
        getattr(part, name).data = getattr(part, name).data[keep]
second.weight.data = second.weight.data[:, keep]  # inputs, not outputs
smaller = prune_channels(net, "features.0", "features.3", 0.5, norm="features.1").eval()
first.out_channels, norm.num_features, second.in_channels = 4, 4, 4
images = data.test.images
assert_close(mine.eval()(images), smaller(images))
print("by hand and prune_channels agree;", f"weights {count_parameters(net):,} -> {count_parameters(smaller):,},",
      f"MACs {count_macs(net, images[:1]):,} -> {count_macs(smaller, images[:1]):,}")  # fmt: skip

# %% [markdown] tags=["step-false"]
# ## When is this false?
#
# **Is what was learnt worth keeping?** Half of all channels gone, then trained on; against a network of that size with
# *new* weights. If new ones do as well, pruning found a size, and you need no large network to train it.

# %% tags=["claim"]
cut = results["half the channels"]
for name in ("with the teacher", "new and small", "new and small, twice the steps"):
    low, high = cut.contrasts[name].interval
    print(f"{name}, against pruned: {cut.contrasts[name].verdict} ({100 * low:+.1f} to {100 * high:+.1f} points)")

# %% [markdown]
# No difference can be told. And what do all these variants *cost*? One run of `benchmarks/compression.py`, digits
# first, then the encoder:

# %% tags=["claim"]
table, costs = load_results("compression")
digits, large = costs["tables"]["digits"], costs["tables"]["encoder"]
judged = table["accuracy on digits"].contrasts
names = ["mask, 50 %", "mask, 90 %, trained on", "mask, 90 %, still hooked", "mask, 2 of 4"]
names += ["half the channels", "half the channels, trained on"]
print(f"{'digits, one image':30} {'file kB':>8} {'packed':>8} {'memory':>8} {'speed':>8}   points to dense")
for name in ("dense", *names):
    row = digits[name]
    told = "" if name == "dense" else f"{100 * judged[name].difference:+.1f}, {judged[name].verdict}"
    sizes = (row["file"], row["packed"], row["memory"]["1"])
    print(f"{name:30}", *(f"{size / 1000:8.1f}" for size in sizes), f"{row['speedup']['1']:8.2f}  ", told)
structure = ["half the feed-forward width", "half the depth"]
ratios = {name: large[name]["speedup"]["1"] for name in ("mask, 50 %", "mask, 90 %", "mask, 2 of 4", *structure)}
lab.show(
    lab.ratio_bars(ratios, xlabel="times as fast as the dense encoder, one text", xlim=(0.5, 4)),
    alt="How many times as fast as the dense encoder. Masks: about one. Half the feed-forward width: about one and a "
    "half. Half the depth: about two.",
)
print("masks within a tenth of the dense time:", all(abs(ratios[name] - 1) <= 0.1 for name in list(ratios)[:3]))
print("structure more than 1.3 times as fast:", all(ratios[name] > 1.3 for name in structure))

# %% tags=["nbval-ignore-output"]
thin = {name: compression.encoder_variant(name, encoder) for name in structure}
now = latency({"dense": encoder, **thin}, text, rounds=30)
print({name: f"{1 / one.ratio:.2f}" for name, one in now.items()}, "times as fast, here and now")
print({name: f"{model_bytes(one) / 1e6:.1f} MB" for name, one in thin.items()}, "in memory")

# %% [markdown]
# **2 of 4** (N:M sparsity, `nm_mask`) needs kernels that skip the zeros: some GPUs have them, this processor has none.

# %% [markdown] tags=["step-broken"]
# ## Broken run: weights that come back
#
# The mask is applied once, then training goes on, with the *gradients* of pruned weights set to zero to be safe. But
# Adam's step is made of its memory: an optimizer that has trained before pruning still moves them.

# %% tags=["claim"]


def zeros_after(again):
    one = copy.deepcopy(net)
    masks = magnitude_mask(one, 0.9)
    optimizer = torch.optim.Adam(one.parameters(), lr=0.004)
    one.train()
    for step in range(20):
        rows = slice(50 * step, 50 * step + 50)
        optimizer.zero_grad()
        F.cross_entropy(one(data.train.images[rows]), data.train.labels[rows]).backward()
        if step >= 10:  # pruned: no gradient for what is gone
            for name, mask in masks.items():
                one.get_parameter(name).grad.mul_(mask)
        optimizer.step()
        if step == 9 or (again and step > 9):
            apply_mask(one, masks)
    return sparsity_of(one), compression.file_bytes(one)[1] / 1000


for again, words in ((False, "mask applied once"), (True, "after every step")):
    zeros, size = zeros_after(again)
    print(f"{words}: nine of ten weights are zero: {zeros > 0.89}; the file is below 10 kB: {size < 10}")

# %% [markdown]
# **Symptom:** no error; a sparse file far too large. **Catch it:** count the zeros at the end.
# `fit(..., after_step=lambda: apply_mask(model, masks))` masks after each step, as every arm above did.

# %% [markdown] tags=["step-tool"]
# ## The professional's tool
#
# One pair by hand is fine; a residual sum ties many layers together. **Torch-Pruning** traces the network, groups what
# depends on each other, and cuts it all. The same four filters:

# %% tags=["claim"]
import torch_pruning

tool = copy.deepcopy(net)
graph = torch_pruning.DependencyGraph().build_dependency(tool, example_inputs=images[:1])
gone = [channel for channel in range(8) if channel not in keep.tolist()]
group = graph.get_pruning_group(tool.features[0], torch_pruning.prune_conv_out_channels, idxs=gone)
group.prune()
touched = {name for name, part in tool.named_modules() for item in group if item.dep.target.module is part}
print("it cut:", sorted(touched))
assert_close(tool.eval()(images), smaller(images))
print("and gives the outputs of ours")
options = {"epochs": 1, "lr": 0.004, "progress": False}
history = fit(tool, data.train.images, data.train.labels, **options)
print("an ordinary, dense, smaller network, which trains on:", history.stopped)

# %% [markdown] tags=["step-exercises"]
# ## Exercises
#
# The last one is the interview question from the top: your own words first, then the rubric.

# %%
ask("mask-that-saves-nothing")

# %%
ask("when-sparse-is-smaller")

# %%
ask("write-a-magnitude-mask")


# %%
def magnitude_masks(model, sparsity):
    """A network and the share of weights that go -> parameter name to bool tensor, True where a weight stays."""
    # your code here


check("write-a-magnitude-mask", magnitude_masks)

# %%
ask("momentum-revives-pruned-weights")

# %%
ask("channels-halved")

# %%
ask("magnitude-against-obd")

# %%
ask("cubic-schedule")

# %%
ask("two-of-four")

# %%
ask("why-is-it-not-faster")

# %%
ask("prune-under-a-latency-budget")

# %% [markdown]
# What you have done, what was hard, and what to look at again:

# %%
board()

# %% [markdown] tags=["step-takeaway"]
# ## Take away
#
# 1. Zeros buy nothing by themselves: the dense file and the dense time stay, and a mask left attached costs both.
# 2. Bytes need a sparse format: mostly a bitmap, and the smaller the values, the less it gains. Time needs whole
# channels, rows or layers gone.
# 3. Among informed scores, what is compared with what decided most: even shares over layers or rows broke these
# networks first.
# 4. After pruning, train on, and mask after every step. The network before pruning helped as a teacher where labels
# were few; with all of them nothing could be told. A gradual schedule helped where nearly everything went.
# 5. New weights in the smaller shape are the control that pruning has to beat. Here it did not.
#
# **Papers.** LeCun, Denker, Solla 1990, *Optimal Brain Damage*. Han et al. 2015, *Learning both Weights and
# Connections*, arXiv 1506.02626. Li et al. 2017, *Pruning Filters for Efficient ConvNets*, arXiv 1608.08710. Zhu, Gupta
# 2017, *To Prune, or Not to Prune*, arXiv 1710.01878. Frankle, Carbin 2019, *The Lottery Ticket Hypothesis*, arXiv
# 1803.03635; with rewinding, Frankle et al. 2020, arXiv 1912.05671. Liu et al. 2019, *Rethinking the Value of Network
# Pruning*, arXiv 1810.05270. Mishra et al. 2021, arXiv 2104.08378. Sun et al. 2023, *Wanda*, arXiv 2306.11695. Fang et
# al. 2023, *DepGraph* (Torch-Pruning), arXiv 2301.12900.
#
# **Next:** lesson 07 keeps every weight and stores fewer numbers.
