# ---
# jupyter:
#   kdlab:
#     lesson: 4
#     minutes: 80
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["step-header"]
# # 04 · Features and relations
#
# After this lesson you can
#
# - **write** five losses on a network's layers, and say what each asks of the student;
# - **check** which changes of the features each of them cannot see;
# - **tap** a layer of any model and leave no hook behind;
# - **judge** whether a feature loss helped, by a control with random weights;
# - **catch** a projector that never learns.
#
# **Time:** 80 minutes. **You should know** lessons 02 and 03. The code is in `kdlab.features` and
# `kdlab.feature_training`.
#
# > **Interview question.** "What types of losses are there in knowledge distillation, and when would you look inside
# > the teacher at all?"

# %%
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from kdlab import kd_loss, lab
from kdlab.data import load_digits
from kdlab.exercises import ask, board, check, predict
from kdlab.experiments import compare, contrast
from kdlab.feature_properties import blind_to
from kdlab.feature_training import Match, distill_features, record_features
from kdlab.losses import dist_loss, dkd_loss
from kdlab.models import SmallCNN
from kdlab.studies import load_results, methods
from kdlab.training import evaluate, fit, seeded

torch.set_num_threads(1)
data = load_digits()
train, test = data.train, data.test
lab.show(lab.course_map(here=4), alt=lab.course_map_alt(here=4))

# %% [markdown] tags=["step-surprise"]
# ## It looks where the teacher looks
#
# A student with fifty labelled digits, and a teacher that saw all thousand. During training the student is told *where*
# its teacher's second convolution is active: its attention maps must become the teacher's. Do they?

# %% tags=["nbval-ignore-output"]
from kdlab.features import (
    FeatureTap,
    Projector,
    attention_map,
    attention_transfer_loss,
    hint_loss,
    relational_angle_loss,
    relational_distance_loss,
    similarity_loss,
)

regime = methods.REGIMES["50 labels, teacher saw all"]
teacher = methods.teachers(regime, 0)
LAYER, STRONG = "features.3", 30.0  # second convolution after its ReLU, (B, C, 8, 8); 30 times a moderate weight
known = record_features(teacher, test.images, [LAYER])[LAYER]
students = {"alone": [], "told where to look": []}
for seed in range(5):
    students["alone"].append(methods.learn_labels(regime, seed, lr=0.011))
    students["told where to look"].append(
        methods.learn_features(regime, seed, lr=0.011, weight=STRONG, kind="attention transfer")
    )

# %% [markdown] tags=["step-predict"]
# **Predict.** The maps did move; you will see them below. How many points of accuracy are that worth?

# %%
predict("04-looking", {"points": None})

# %% tags=["claim", "hide-answer"]
maps = {name: record_features(group[0], test.images, [LAYER])[LAYER] for name, group in students.items()}
panels = {}
for row in (0, 3):
    panels[f"digit {int(test.labels[row])}" + " " * row] = test.images[row, 0]
    panels["teacher's map" + " " * row] = attention_map(known[row : row + 1])[0]
    for name, features in maps.items():
        panels[f"student {name}" + " " * row] = attention_map(features[row : row + 1])[0]
lab.show(
    lab.matrix_row(panels, per_row=4),
    alt="Two test digits, and where three networks are active. The student that was told where to look has nearly its "
    "teacher's map; the one alone has another.",
)


def distance_to_teacher(student):
    return float(attention_transfer_loss(record_features(student, test.images, [LAYER])[LAYER], known))


gap = {name: fmean(distance_to_teacher(one) for one in group) for name, group in students.items()}
scores = {name: [evaluate(one, test.images, test.labels).accuracy for one in group] for name, group in students.items()}
looking = compare({name: lambda seed, name=name: scores[name][seed] for name in scores}, seeds=range(5))
print("distance of the maps falls to less than a third:", gap["told where to look"] < gap["alone"] / 3)
print("accuracy, five pairs:", looking.verdict)

# %% tags=["nbval-ignore-output", "hide-answer"]
predict("04-looking", measured={"points": 100 * looking.difference})

# %% [markdown] tags=["step-idea"]
# ## The idea: what is knowledge, if not the answer?
#
# Between a pixel and a logit lie layers. What could a student copy there? Let $s$ and $t$ be the features of student
# and teacher for a batch of $B$ samples, shape `(B, C, H, W)`, with other $C$ for each.
#
# | kind | asks | the student's features are compared |
# |---|---|---|
# | **hint** | be the same, up to an affine map $r$ | themselves, through a projector |
# | **attention** | be active at the same places | summed over channels |
# | **relations** | find the same samples alike | with those of the *other samples* |
#
# $$L_{\text{hint}} = \frac1B \sum_i \tfrac12 \|t_i - r(s_i)\|^2
# \qquad L_{\text{AT}} = \frac1B \sum_i \Big\| \frac{a^s_i}{\|a^s_i\|} - \frac{a^t_i}{\|a^t_i\|} \Big\|,
# \quad a^s_{hw} = \sum_c s_{chw}^2$$
#
# $$L_{\text{SP}} = \frac{1}{B^2} \| G^s - G^t \|_F^2, \quad G = f f^\top \text{ with rows of length 1,}\quad
# f = \text{features as } (B, CHW)$$
#
# $$L_{\text{RKD-D}} = \operatorname*{mean}_{i \ne j} \ell\Big(\frac{\|s_i - s_j\|}{\mu_s}, \frac{\|t_i - t_j\|}{\mu_t}
# \Big) \qquad L_{\text{RKD-A}} = \operatorname*{mean}_{i,j,k} \ell(\cos\angle s_i s_j s_k, \cos\angle t_i t_j t_k)$$
#
# $\mu$ is the mean distance in the batch, $\ell$ is Huber's loss; the angle is that at $s_j$, and $i, j, k$ differ. Its
# cosine follows from inner products $g$ and distances $d$ between samples:
#
# $$\cos\angle s_i s_j s_k = (g_{ik} - g_{ij} - g_{jk} + g_{jj}) / (d_{ij}\, d_{kj})$$
#
# Four samples with two channels of two by two, drawn. The first two have the *same* attention map from different
# channels:

# %%
tiny = torch.tensor(
    [[[2.0, 0], [0, 1]], [[1, 0], [0, 0]], [[2, 0], [0, 0]], [[1, 0], [0, 1]], [[0, 3], [0, 0]], [[0, 1], [1, 0]],
     [[0, 0], [2, 1]], [[0, 0], [1, 2]]]
).view(4, 2, 2, 2)  # (B, C, H, W)  # fmt: skip
flat = tiny.flatten(1)  # (B, C H W)
gram = flat @ flat.T  # (B, B): all that a relation reads
pictures = {f"sample {i}, channel {c}": tiny[i, c] for i in range(2) for c in range(2)}
pictures |= {f"attention of sample {i}": attention_map(tiny)[i] for i in range(2)}
lab.show(
    lab.matrix_row({**pictures, "inner products\nof 4 samples": gram}, per_row=4, decimals=0),
    alt="Two channels of two samples, two by two values each; their attention maps, the sums of the channels' squares; "
    "and the four by four matrix of inner products of all samples.",
)

# %% [markdown] tags=["step-build"]
# ## Build them
#
# Each is a few lines, and the relations start from the matrix of inner products.


# %%
def my_attention(s, t):
    a_s, a_t = (F.normalize(x.square().sum(1).flatten(1), dim=1) for x in (s, t))  # (B, H W), length 1
    return (a_s - a_t).norm(dim=1).mean()


def my_similarity(s, t):
    g_s, g_t = (F.normalize(x.flatten(1) @ x.flatten(1).T, dim=1) for x in (s, t))  # (B, B), rows of length 1
    return (g_s - g_t).square().mean()


def my_distance(s, t):
    def relations(x):
        g = x.flatten(1) @ x.flatten(1).T
        squares = g.diagonal()[:, None] + g.diagonal()[None] - 2 * g  # ||x_i - x_j||^2
        pairs = squares[~torch.eye(len(x), dtype=torch.bool)].clamp(min=0).sqrt()
        return pairs / pairs.mean()

    return F.smooth_l1_loss(relations(s), relations(t))


# %% [markdown]
# **Check by property.** What should *not* matter? A student twice as active is no worse a student. Nor is one whose
# channels are mixed by a rotation: the next layer can undo it. On a random student, sixteen channels against a
# teacher's twenty-four:

# %%
generator = torch.Generator().manual_seed(0)
s = torch.randn(6, 16, 4, 4, generator=generator, dtype=torch.float64)
t = torch.randn(6, 24, 4, 4, generator=generator, dtype=torch.float64)
rotation = torch.linalg.qr(torch.randn(16, 16, generator=generator, dtype=torch.float64))[0]  # orthogonal
rotated = torch.einsum("dc,bchw->bdhw", rotation, s)
for name, mine in {"attention": my_attention, "similarity": my_similarity, "distance": my_distance}.items():
    same = [torch.allclose(mine(changed, t), mine(s, t)) for changed in (3 * s, rotated, s + 1)]
    print(f"{name:10} blind to: times 3 {same[0]}, rotated {same[1]}, plus 1 {same[2]}")

# %% [markdown]
# Why is the last column different? Inner products are taken from the origin, and so are attention's squares; distances
# are taken between samples, and a shift of all samples leaves them.

# %% tags=["step-kdlab"]
assert_close(my_attention(s, t), attention_transfer_loss(s, t))
assert_close(my_similarity(s, t), similarity_loss(s, t))
assert_close(my_distance(s, t), relational_distance_loss(s, t))


def my_angle(s, t):
    def cosines(x):  # [i, j, k]: of the angle at sample j
        g = x.flatten(1) @ x.flatten(1).T
        d = (g.diagonal()[:, None] + g.diagonal()[None] - 2 * g).clamp(min=0).sqrt()
        dots = g[:, None, :] - g[:, :, None] - g[None] + g.diagonal()[None, :, None]
        differ = ~torch.eye(len(x), dtype=torch.bool)
        differ = differ[:, None, :] & differ[:, :, None] & differ[None]
        return dots[differ] / (d[:, :, None] * d[None])[differ]

    return F.smooth_l1_loss(cosines(s), cosines(t))


assert_close(my_angle(s, t), relational_angle_loss(s, t))
projector = Projector(16, 24).double()
by_hand = (t - projector(s)).square().sum() / (2 * len(s))
assert_close(by_hand, hint_loss(s, t, projector=projector))
print("yours are kdlab's")
print("numbers that a projector from 16 to 24 channels holds:", sum(p.numel() for p in projector.parameters()))
smaller = F.adaptive_avg_pool2d(t, 2)  # another size: the larger map is pooled to the smaller one
assert_close(attention_transfer_loss(s, smaller), my_attention(F.adaptive_avg_pool2d(s, 2), smaller))

# %% [markdown]
# The **projector** exists because widths differ: it maps the student's channels to the teacher's, position by position
# (a 1x1 convolution). It must be *trained along*, and is not deployed.
#
# Now every loss of `kdlab`, the hint *bare*, without projector, against eight changes of the student's features.
# **Scaled:** times three, all or one sample. **Shifted:** one number per channel is added, everywhere. **Rotated:**
# the channels are mixed, alike at every position; or all features, across positions too. **Permuted:** one new order of
# pixels for all. **Repeated:** each channel twice. **Reordered:** the samples, in both networks. A cross: it notices.

# %% tags=["claim"]
LOSSES = {
    "bare hint": hint_loss,
    "attention": attention_transfer_loss,
    "similarity": similarity_loss,
    "distance": relational_distance_loss,
    "angle": relational_angle_loss,
}
blind = {name: blind_to(loss) for name, loss in LOSSES.items()}
changes = list(blind["attention"])
noticed = {name: [change for change in changes if not found[change]] for name, found in blind.items()}
lab.show(
    lab.property_matrix(noticed, changes),
    alt="Which change of the student's features each loss notices. The bare hint, without projector, notices all but a "
    "common reordering of the samples; attention notices only a permutation of pixels, a rotation across them and a "
    "shift; relations notice scaling one sample, and similarity a shift too.",
)
for name, found in noticed.items():
    print(f"{name:10} notices: {', '.join(found)}")

# %% [markdown]
# Read it as a list of *demands*. A hint without a projector demands that channel seven be channel seven, which a
# network trained again would not satisfy even against its own twin. A relation demands so little that a layer may be
# rebuilt from scratch, as long as the same samples lie close.

# %% [markdown]
# ## Tap a layer
#
# PyTorch has no argument for "give me the middle too": you register a *hook*. A hook that stays, stays for ever.
# `FeatureTap` removes its own when the block ends, also when it ends by an error.

# %%
student = SmallCNN(4, dropout=0.0)


def hooks(model):
    return sum(len(layer._forward_hooks) for layer in model.modules())


with FeatureTap(student, ["features.3", "classifier.3"]) as tap:
    logits = student(train.images[:6])
    print({name: list(tap[name].shape) for name in tap.names}, "hooks inside:", hooks(student))
try:
    with FeatureTap(student, "features.3"):
        student(torch.zeros(6, 3, 8, 8))  # three channels: an error in the middle of the forward pass
except RuntimeError:
    print("after an error:", hooks(student), "hooks")
try:
    FeatureTap(student, "feature.3")
except ValueError as error:
    print(str(error)[-30:])

# %% [markdown]
# To train with it, name two layers and a loss: `distill_features` records the teacher once, taps the student, trains a
# projector along, and adds it all to the loss of lesson 02 (`alpha=0`: the labels, no logits).

# %% tags=["nbval-ignore-output"]
match = Match("features.4", "features.4", similarity_loss, weight=20.0)
fifty = train.subset(5, seed=0)
options = {"epochs": 200, "lr": 0.01, "batch_size": 32}
history = distill_features(student, teacher, fifty.images, fifty.labels, matches=[match], alpha=0.0, **options)
print("loss, first and last epoch:", [round(history.train_loss[end], 3) for end in (0, -1)])

# %% [markdown]
# ## And the logits? Two refinements
#
# Two later methods stay with the answer and look at it in parts. **Decoupled** distillation takes KL apart at the label
# $y$: one part asks how sure, the other what else, and the teacher's own sureness mutes the second. Each gets a weight
# of its own. **DIST** asks for correlations only, within a row and within a class: blind to a row's probabilities being
# scaled and shifted. Softening by a temperature it does notice.

# %% tags=["claim"]
z_s, z_t = 3 * torch.randn(2, 1, 10, dtype=torch.float64, generator=generator)  # one row of logits each
y = torch.tensor([4])
parts = [dkd_loss(z_s, z_t, y, temperature=1.0, target_weight=a, other_weight=1 - a) for a in (1.0, 0.0)]
p_y = z_t.softmax(1)[0, 4]
assert_close(kd_loss(z_s, z_t, temperature=1.0, alpha=1.0), parts[0] + (1 - p_y) * parts[1])
print("KL = target part + (1 - p_y) * others; decoupled: the factor is gone")
p = (3 * torch.randn(8, 10, dtype=torch.float64, generator=generator)).softmax(1)
in_rows = {"temperature": 1.0, "intra_weight": 0.0}
for name, q in {"scaled and shifted": 0.5 * p + 0.05, "softened by T = 2": (p.log() / 2).softmax(1)}.items():
    rows = bool(dist_loss(q.log(), p.log(), **in_rows) < 1e-12)
    kl = bool(kd_loss(q.log(), p.log(), temperature=1.0, alpha=1.0) < 1e-12)
    print(f"{name}: DIST's row part is zero: {rows}; KL is zero: {kl}")

# %% [markdown] tags=["step-play"]
# ## Play
#
# **First a question:** you multiply the student's features by five. Which bars move? And when one image alone is
# multiplied? Then roll the maps by one pixel ("shifted by a pixel"); then choose the student trained on labels: are its
# relations nearer to the teacher's than the untrained one's?

# %% tags=["nbval-ignore-output"]
order = train.labels[:60].argsort(stable=True)
chosen = torch.cat([order[train.labels[order] == digit][:2] for digit in (0, 1, 4, 7)])  # two each of four digits
layers = ["features.1", "features.3", "features.4", "classifier.3"]
lab.features_explorable(
    teacher,
    {
        "untrained": methods.make_student(0),
        "trained on labels": students["alone"][0],
        "told where to look": students["told where to look"][0],
    },
    train.images[chosen],
    train.labels[chosen],
    teacher_layers=layers,
    student_layers=layers,
    more_images=train.images[:200],
    teacher_layer=LAYER,
    student_layer=LAYER,
)

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# Times five: no bar moves: the losses divide the length out, and the projector learns the factor. One image alone:
# attention, which normalises every image, stays; distances and angles move, for that image is now far from all others,
# and similarity, for its column outweighs the rest of every row; the projector moves a little, since one must fit all
# images. Rolled maps: what leaves comes back on the other side, so all images' pixels are permuted alike: relations
# stay, attention and projector move. And labels need not bring relations nearer: in this layer, for these few images,
# distances and angles of the *untrained* student lie nearer to the teacher's. Similar images stay similar under random
# weights. Keep that in mind.
# </details>

# %% [markdown] tags=["step-measure"]
# ## Measure
#
# One student (four channels), one budget (400 steps), ten paired seeds. Every arm had eight tuning trials on validation
# images: the labels alone spend them on the learning rate, losses on layers on two rates and four weights.
# "Distillation" is the loss of lesson 02, on logits alone. **Predict**, for fifty labels and a teacher that saw all:
# what do the logits gain over the labels alone, what does the best of five losses on layers, and what does label
# smoothing, with no teacher at all? (Hint and similarity read `features.4`, attention `features.3`, distance and angle
# `classifier.3`: loss and layer change together here, and cannot be told apart.)

# %%
predict("04-gains", {"logits": None, "best on layers": None, "label smoothing": None})  # in points

# %% tags=["hide-answer"]
study, record = load_results("methods")
few = study["50 labels, teacher saw all"]
best = max(methods.FEATURES, key=lambda name: few.contrasts[name].difference)
gains = {"logits": "distillation", "best on layers": best, "label smoothing": "label smoothing"}
predict("04-gains", measured={name: 100 * few.contrasts[arm].difference for name, arm in gains.items()})

# %% tags=["claim", "hide-answer"]
alone, refined = ["label smoothing", "distillation", *methods.FEATURES], ["decoupled", "DIST"]
both = [f"{name} and distillation" for name in methods.FEATURES]
same = study["50 labels, teacher saw the same"]
shown = {
    "50 labels, teacher saw all": {name: few.contrasts[name] for name in [*alone[:2], *refined, *alone[2:], *both]},
    "50 labels, teacher saw the same": {name: same.contrasts[name] for name in alone},
}
lab.show(
    lab.forest_chart(shown, xlabel="points above hard labels, test images"),
    alt="Gains over hard labels with intervals. Fifty labels, teacher saw all: label smoothing gains about five "
    "points, distillation eleven, decoupled four, DIST eight, hint and attention nothing, relations four to five; each "
    "beside distillation gains about as much as distillation. Teacher saw the same: label smoothing five, distillation "
    "four, the five losses from minus two to three.",
)

# %% tags=["claim", "hide-answer"]
print(f"the file: {record['date']}, torch {record['versions']['torch']}, {record['command']}")
beside, than_smooth = (few.against(name).contrasts for name in ("distillation", "label smoothing"))
for name in refined:
    one = few.contrasts[name]
    print(f"{name}: {100 * one.difference:+.1f} points, {one.verdict}; against distillation: {beside[name].verdict}")
print(f"best on layers: {best}; against label smoothing: {than_smooth[best].verdict};", end=" ")
print("against distillation:", beside[best].verdict)
smooth = same.against("label smoothing").contrasts
print("teacher saw the same, against label smoothing: distillation:", smooth["distillation"].verdict, end="; ")
print("five losses:", {smooth[name].verdict for name in methods.FEATURES})
print("a loss on layers beside the logits, against the logits alone:", {beside[name].verdict for name in both})
name = "similarity"
again = methods.arms("50 labels, teacher saw all")[name].run(0, **few.chosen[name]).test
print("one run repeated here agrees within 2 points:", abs(again - few.scores[name][0]) < 0.02)

# %% [markdown]
# Plain distillation wins; its two refinements did not beat it. The best loss on layers reads the same teacher and gains
# half of that: no more, as far as can be told, than label smoothing, which has no teacher at all. For hints and
# attention no gain can be told. The maps were matched above, at a strong weight and another rate, and no gain could be
# told there either; tuning kept a moderate weight for attention, and for hints the smallest on offer. *Beside* the
# logits, no layer adds anything that can be told. And where the teacher had seen no more than the student, each of the
# five lies below label smoothing. (Other arms took the largest weight or temperature on offer: a wider grid might lift
# them. Verdicts are corrected for all arms, intervals are not: some exclude zero and still say "cannot tell".)

# %% [markdown] tags=["step-false"]
# ## When is this false?
#
# **First control: a teacher that knows nothing.** Take the teacher's architecture with *random* weights, and match its
# layers. If that helps, then what helped was not the teacher's knowledge. **Predict:** which of the five losses
# gains most from it?

# %%
predict("04-untrained-teacher", {"gains most": None})  # a name, such as "hint"

# %% tags=["claim", "hide-answer"]
random_too = {name: f"{name}, untrained teacher" for name in methods.FEATURES}
pairs = {}
for name, control in random_too.items():
    pairs |= {name: few.contrasts[name], control: few.contrasts[control]}
every = study["all labels"].contrasts
lab.show(
    lab.forest_chart(
        {"50 labels": pairs, "all labels": {name: every[name] for name in methods.FEATURES}},
        xlabel="points above hard labels, test images",
    ),
    alt="Fifty labels, each loss with the trained and with the untrained teacher: relations gain four to five points "
    "with the trained one and one to two and a half with the untrained one; hint and attention nothing with "
    "either. All labels: differences within a few points, no verdict.",
)
print(
    "an untrained teacher, 50 labels:", {name: few.contrasts[control].verdict for name, control in random_too.items()}
)
for name in methods.FEATURES:
    runs = zip(few.scores[name], few.scores[random_too[name]], strict=True)
    print(f"{name}, trained minus untrained teacher:", contrast([a - b for a, b in runs]).verdict)
print("all labels, losses on layers:", {every[name].verdict for name in methods.FEATURES})

# %% tags=["hide-answer"]
gain = {name: few.contrasts[control].difference for name, control in random_too.items()}
predict("04-untrained-teacher", measured={"gains most": max(gain, key=gain.get)})

# %% [markdown]
# A random network keeps similar images similar. With the angles, one untrained network already gave a gain: that part
# is not learnt knowledge. Whether the shape of its relations helps, or any mild constraint would, this control does not
# say, and for similarity and distance no such part can be told. The trained teacher's relations are worth more than the
# untrained one's (five questions, each asked once, uncorrected); for hints and maps no difference can be told. Without
# this control all of it would have been called knowledge.
#
# **Second: enough labels.** With all thousand, none of the five can be told from the labels alone.

# %% [markdown] tags=["step-broken"]
# ## Broken runs
#
# **A projector that never learns.** It is no part of the student, so `optimizer = Adam(student.parameters())` leaves it
# at its random start. Nothing fails, and with cross-entropy in the sum even the total loss falls.

# %% tags=["claim"]
target = record_features(teacher, train.images, ["features.4"])["features.4"]  # (1000, 64, 4, 4)
constant = target.mean(dim=(0, 2, 3), keepdim=True)  # one number per channel: what needs no student at all
trivial = float((target - constant).square().sum() / (2 * len(target)))


def hint_stage(projector, along):
    """A student that learns hints alone; the mean loss of each epoch."""
    student = methods.make_student(0)
    options = {"epochs": 8, "lr": 0.01, "progress": False, "train_along": along}
    with FeatureTap(student, "features.4") as tap:

        def objective(logits, labels, rows):
            return hint_loss(tap["features.4"], target[rows], projector=projector)

        return fit(student, train.images, None, objective=objective, **options).train_loss


for right in (True, False):
    with seeded(1):
        projector = Projector(8, 64)
    before = projector.linear.weight.detach().clone()
    losses = hint_stage(projector, [projector] if right else [])
    moved = not torch.equal(before, projector.linear.weight)
    print(f"projector in the optimiser: {right}; it moved: {moved};", end=" ")
    print(f"the loss falls: {losses[-1] < losses[0]}, below a constant's: {losses[-1] < trivial}")

# %% [markdown]
# **Symptom:** a hint loss that falls a little and stays above what a constant would get. **Catch it:** compare the
# projector before and after; `distill_features` trains it along, `fit` wants it in `train_along`.
#
# **Features that changed after the hook.** `nn.ReLU(inplace=True)` writes into the tensor that you caught: your
# "convolution" is its ReLU, and nobody says so. Except here:

# %% tags=["claim"]
conv = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True))
caught = []
handle = conv[0].register_forward_hook(lambda layer, inputs, output: caught.append(output))
with FeatureTap(conv, "0") as tap:
    conv(train.images[:6])
handle.remove()
print("a plain hook on the convolution caught a negative value:", bool((caught[0] < 0).any()))
try:
    tap["0"]
except RuntimeError as error:
    print("FeatureTap:", str(error)[:58])

# %% [markdown] tags=["step-tool", "given"]
# ## The professional's tool
#
# Relations are old statistics: SciPy has them as `pdist` and `huber`. For distillation itself, torchdistill has a
# wide choice, each loss a class that is told the layers' *paths*, and `ForwardHookManager` for the taps:
#
# ```python
# RKDLoss("classifier.3", "classifier.3", dist_factor=25, angle_factor=50, reduction="mean")
# ```
#
# Check before you trust: its `SPKDLoss` (1.1.5) calls `normalize(x, 1)`, whose `1` is not the dimension but the norm.
# The absolute values of a row then sum to one, instead of its length being one; every property of the table above still
# holds. Only the formula tells. `benchmarks/kd_losses.py` measures its losses beside these.

# %% tags=["claim"]
from scipy.spatial.distance import pdist
from scipy.special import huber

pairs = [pdist(x.flatten(1).numpy()) for x in (s, t)]
relations = [one / one.mean() for one in pairs]
assert_close(relational_distance_loss(s, t).item(), huber(1.0, relations[0] - relations[1]).mean())
print("SciPy's distances and Huber loss give the same number")
batch = [maps["alone"][:64], known[:64]]  # after ReLU, so that no product is negative
rows_of_one = [F.normalize(x.flatten(1) @ x.flatten(1).T, p=1, dim=1) for x in batch]
wrong = (rows_of_one[0] - rows_of_one[1]).square().mean()
print("rows divided by their L1 norm give less than a tenth of it:", bool(wrong < similarity_loss(*batch) / 10))
print(f"{best}: {100 * few.contrasts[best].difference:+.1f} points above hard labels; {few.contrasts[best].verdict}")

# %% [markdown] tags=["step-exercises"]
# ## Exercises
#
# The last one is the interview question from the top: your own words first, then the rubric.

# %%
ask("what-a-projector-costs")

# %%
ask("attention-transfer-by-hand")

# %%
ask("what-each-feature-loss-ignores")

# %%
ask("write-attention-transfer-loss")


# %%
def attention_transfer_loss(student_maps, teacher_maps):
    """Features [N, C_s, H, W] and [N, C_t, H, W] -> a scalar tensor, 0 where both look at the same places."""
    # your code here


check("write-attention-transfer-loss", attention_transfer_loss)

# %%
ask("similarity-with-the-wrong-norm")

# %%
ask("projector-that-never-learns")

# %%
ask("features-that-changed-after-the-hook")

# %%
ask("relations-forget-scale")

# %%
ask("which-knowledge-to-copy")

# %% [markdown]
# What you have done, what was hard, and what to look at again:

# %%
board()

# %% [markdown] tags=["step-takeaway"]
# ## Take away
#
# 1. Three kinds of knowledge inside: the features themselves (through a projector), where they are active, and how
# samples relate. What a loss cannot see is what it does not ask.
# 2. All relations follow from the inner products between samples: blind to rotation and to width.
# 3. With fifty labels and a teacher that saw all, distillation gave most, relations at most half of it, hints and maps
# nothing that could be told. Where the teacher saw no more, label smoothing did no worse than distillation, as far as
# could be told, and better than all five. With all labels nothing could be told. Ask every loss on layers for two
# controls: random weights, which alone gave part of the angles' gain, and label smoothing.
# 4. The projector is trained along and thrown away; a tap is closed; a caught tensor may be changed in place.
# 5. Paper and code differ (squares, sums, norms): check a loss against its formula before you tune it.
#
# **Papers.** Romero et al. 2015, *FitNets: Hints for Thin Deep Nets*, arXiv 1412.6550. Zagoruyko, Komodakis 2017,
# *Paying More Attention to Attention*, arXiv 1612.03928. Tung, Mori 2019, *Similarity-Preserving Knowledge
# Distillation*, arXiv 1907.09682. Park et al. 2019, *Relational Knowledge Distillation*, arXiv 1904.05068. Zhao et al.
# 2022, *Decoupled Knowledge Distillation*, arXiv 2203.08679. Huang et al. 2022, *Knowledge Distillation from A Stronger
# Teacher*, arXiv 2205.10536. Tian, Krishnan, Isola 2020, *Contrastive Representation Distillation*, arXiv 1910.10699:
# a large comparison of such losses, on larger images.
#
# **Next:** lesson 05 asks who should teach at all.
