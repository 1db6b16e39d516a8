# ---
# jupyter:
#   kdlab:
#     lesson: 1
#     minutes: 75
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["step-header"]
# # 01 · Soft labels and temperature
#
# After this lesson you can
#
# - **derive** softmax with temperature, and say what it changes and what it never changes;
# - **test** whether a teacher's second thoughts carry information or noise;
# - **judge** a temperature by the scale of the logits it divides;
# - **tell apart** temperature, label smoothing and calibration;
# - **run** a comparison that could have gone against you, and say what its teacher had seen.
#
# **Time:** 75 minutes, of which the machine needs about one. **You should know** softmax, cross-entropy and what a
# training step in
# PyTorch looks like. The code behind this lesson is in `kdlab.losses`.
#
# > **Interview question.** "The labels are right and the teacher is sometimes wrong. Why would a student learn more
# from the
# > teacher than from the labels, what has temperature to do with it, and when does it learn nothing more?"

# %%
import inspect

import torch
import torch.nn.functional as F
from torch.testing import assert_close

from kdlab import compare, lab, measure, soft_targets
from kdlab.data import load_digits
from kdlab.models import MLP
from kdlab.studies import load_results, soft_labels
from kdlab.training import distill, evaluate, fit, predict_logits, seeded

torch.set_num_threads(1)
data = load_digits()  # 8 by 8 pixels; the three parts never mix
train, validation, test = data.train, data.validation, data.test
print(
    f"{len(train)} training, {len(validation)} validation, {len(test)} test images, each {tuple(train.images[0].shape)}"
)

# %% [markdown] tags=["step-surprise"]
# ## A digit that nobody showed
#
# Train a teacher, a small convolutional network, on all ten digits. Then hide every image of a 6, and train a
# student on the
# rest. The student sees no 6, and no label at all: only, for each remaining image, the ten probabilities that the
# teacher
# gives, with the teacher's logits divided by a number $T$ before the softmax.

# %% tags=["nbval-ignore-output"]
teacher = soft_labels.train_teacher(train)
teacher_logits = predict_logits(teacher, train.images)  # (1000, 10)
print(f"teacher: {evaluate(teacher, validation.images, validation.labels).accuracy:.1%} right on validation images")


def recall_without(digit, temperature):
    """Share of validation images of `digit` that a student recognises which never saw one."""
    kept = train.labels != digit
    with seeded(0):
        student = MLP(in_features=64, hidden=(32,))
    distill(student, teacher_logits[kept], train.images[kept], temperature=temperature, alpha=1, epochs=60, lr=5e-3)
    shown = validation.labels == digit
    return evaluate(student, validation.images[shown], validation.labels[shown]).accuracy


# %% [markdown] tags=["step-predict"]
# **Predict.** What share of the sixes will the student recognise, with $T = 1$ and with $T = 8$? Put your guesses
# in, then run the
# cell. Nobody sees them but you; a guess makes the answer stick. (Was 6 a lucky choice? The cell after hides each
# digit in turn.)

# %% tags=["nbval-ignore-output"]
guess = {1: None, 8: None}  # shares from 0 to 1, such as {1: 0.05, 8: 0.1}

recall = {temperature: recall_without(6, temperature) for temperature in (1, 8)}
for temperature, share in recall.items():
    print(f"T = {temperature}: your guess {guess[temperature]}, measured {share:.2f}")

# %% tags=["claim"]
digits = range(10)
recalls = {temperature: [recall_without(digit, temperature) for digit in digits] for temperature in (1, 8)}
figure, axes = lab.new_figure(height=2.6)
axes.vlines(digits, recalls[1], recalls[8], color=lab.GREY)
axes.plot(digits, recalls[1], "s", color=lab.COLORS["vermillion"], label="T = 1", clip_on=False, zorder=3)
axes.plot(digits, recalls[8], "o", color=lab.COLORS["blue"], label="T = 8", clip_on=False, zorder=3)
axes.set(
    xticks=digits, xlim=(-0.5, 10.5), ylim=(0, 1), xlabel="digit hidden from the student", ylabel="share recognised"
)
axes.legend(loc="upper right")
lab.show(
    figure,
    alt="Share of an unseen digit that the student recognises, for each hidden digit. At T = 1 almost nothing; at "
    "T = 8 very different from digit to digit, most for the 6.",
)
print("unseen sixes found with T = 1, fewer than one in ten:", recalls[1][6] < 0.1)
print("unseen sixes found with T = 8, more than half:", recalls[8][6] > 0.5)

# %% [markdown] tags=["step-idea"]
# ## The idea: dark knowledge
#
# No 6 was shown, yet something about sixes got through, with the *other* digits: this 5 is a little like a 6, that 0
# is not.
# Geoffrey Hinton calls it **dark knowledge**. It lies in the wrong classes, where a hard label is silent, and at $T
# = 1$ it is too
# small to see. (The teacher did see sixes: knowledge travels, it does not appear from nowhere.)
#
# A **soft label**, or soft target, is one probability distribution over all $K$ classes *per image*:
#
# $$p_k(T) = \frac{e^{z_k/T}}{\sum_{j=1}^{K} e^{z_j/T}}$$
#
# - $z$: the teacher's logits, shape `(N, K)`, here $K = 10$;
# - $T > 0$: the **temperature**, one number, in units of logits;
# - $p(T)$: probabilities, shape `(N, K)`, every row sums to one.

# %%
uncertain = soft_targets(teacher_logits, 8).max(dim=1).values.argsort().tolist()
hardest = {}  # class: the training image of it that the teacher is least sure of
for row in uncertain:
    hardest.setdefault(int(train.labels[row]), row)
picks = list(hardest.values())[:4]
figure, axes = lab.new_figure(2, 4, height=3.6, height_ratios=(1, 1.3), sharey="row")
for column, row in enumerate(picks):
    axes[0, column].imshow(train.images[row, 0], cmap="Greys")
    axes[0, column].set(title=f"labelled {train.labels[row]}", xticks=[], yticks=[])
    axes[1, column].bar(
        [d - 0.2 for d in digits], soft_targets(teacher_logits[row], 1), 0.4, color=lab.COLORS["orange"], label="T = 1"
    )
    axes[1, column].bar(
        [d + 0.2 for d in digits], soft_targets(teacher_logits[row], 8), 0.4, color=lab.COLORS["blue"], label="T = 8"
    )
    axes[1, column].set(xticks=digits, ylim=(0, 1), xlabel="class")
axes[1, 0].set_ylabel("probability")
axes[1, 3].legend()
lab.show(
    figure,
    alt="Four training digits that the teacher finds hard, and its probabilities. At T = 1 nearly all mass is on one "
    "class; at T = 8 the same logits show which other classes the teacher finds plausible.",
)

# %% [markdown] tags=["step-build"]
# ## Build it
#
# Before you run this, answer on paper: two classes have probabilities in the ratio nine to one at $T = 1$. What is
# the ratio at
# $T = 2$? (The third property below tells.)


# %%
def softmax_with_temperature(z, temperature):
    scaled = (z - z.max(dim=-1, keepdim=True).values) / temperature  # the shift cancels, and prevents overflow
    return scaled.exp() / scaled.exp().sum(dim=-1, keepdim=True)


z = torch.tensor([4.0, 2.0, 0.0])
for temperature in (0.5, 1, 2, 4, 8):
    p = softmax_with_temperature(z, temperature)
    rounded = [round(value, 3) for value in p.tolist()]
    print(f"T = {temperature:<3}  p = {rounded}  entropy = {measure.entropy(p):.3f} nats")

# five properties, so that you need not trust your eye
ones = torch.ones(3)
assert_close(softmax_with_temperature(z, 3.0).sum(), ones[0])  # 1. a distribution
assert_close(softmax_with_temperature(z + 100, 3.0), softmax_with_temperature(z, 3.0))  # 2. blind to a constant
nine_to_one = torch.tensor([0.9, 0.1]).log()  # log-probabilities are logits, too
assert_close(softmax_with_temperature(nine_to_one, 2.0), torch.tensor([0.75, 0.25]))  # 3. odds to the power 1/T
assert_close(softmax_with_temperature(z, 1e6), ones / 3, atol=1e-5, rtol=0)  # 4. uniform as T grows
assert_close(softmax_with_temperature(z, 1e-3), torch.tensor([1.0, 0.0, 0.0]))  # 5. one-hot as T vanishes
print("five properties hold")

# %% [markdown]
# Odds are $e^{(z_i - z_j)/T}$, so $T = 2$ takes the **square root of the odds**: three to one. Temperature acts on
# logits; dividing
# probabilities by $T$ and renormalising would do nothing at all.
#
# **Entropy grows with $T$: derive it.** Write $\beta = 1/T$ and $\log p_k = \beta z_k - \log Z$. Then
# $H = -\sum_k p_k \log p_k = \log Z - \beta\,\mathbb{E}_p[z]$. Two standard facts, $\frac{d}{d\beta}\log Z =
# \mathbb{E}_p[z]$ and
# $\frac{d}{d\beta}\mathbb{E}_p[z] = \mathrm{Var}_p[z]$, leave $\frac{dH}{d\beta} = -\beta\,\mathrm{Var}_p[z]$. With
# $d\beta/dT = -1/T^2$:
#
# $$\frac{dH}{dT} = \frac{\mathrm{Var}_{p(T)}[z]}{T^3} \;\ge\; 0,$$
#
# zero only if all logits are equal. Entropy rises for *every* image, up to $\ln K$. Let autograd judge:

# %%
z = torch.tensor([3.0, 1.0, 0.2], dtype=torch.float64)
T = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
p = (z / T).softmax(dim=-1)
(by_autograd,) = torch.autograd.grad(-(p * p.log()).sum(), T)
variance = (p * z**2).sum() - (p * z).sum() ** 2
assert_close(by_autograd, variance / T**3)
print(f"dH/dT by autograd {by_autograd:.5f}, by the formula {variance / T**3:.5f}")

# %% [markdown] tags=["step-kdlab"]
# ## The same in kdlab
#
# One function, equal to yours, that refuses what has no meaning instead of returning NaN. And one habit: losses need
# the
# *logarithm* of soft labels. `softmax(z).log()` rounds small probabilities to zero first; `log_softmax` never leaves
# log space. So
# every loss in `kdlab` takes logits.

# %%
assert_close(soft_targets(teacher_logits, 4.0), softmax_with_temperature(teacher_logits, 4.0))
for bad in (0, float("nan"), "4"):
    try:
        soft_targets(teacher_logits, bad)
    except (ValueError, TypeError) as error:
        print(f"{type(error).__name__}: {str(error).split(':')[0]}")
print()
z = torch.tensor([0.0, -20.0, -60.0, -110.0])
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    naive, stable = z.to(dtype).softmax(dim=0).log(), z.to(dtype).log_softmax(dim=0)
    print(f"{dtype!s:15} log of softmax {[round(v, 2) for v in naive.tolist()]!s:32} log_softmax {stable.tolist()}")

# %% [markdown] tags=["step-play"]
# ## Play
#
# **First a question.** As you drag $T$ from end to end, which of these can change: the winner, the order of the
# classes, the odds
# between two wrong classes, the entropy? Decide, then find an image that proves it.

# %% tags=["nbval-ignore-output"]
gallery = [*picks, 0, 1, 2, 3]
lab.temperature_explorable(train.images[gallery], teacher_logits[gallery], train.labels[gallery], id="temperature")

# %% [markdown]
# **What you should have seen.** The winner and the order of the classes stay: dividing by a positive number keeps
# the order within
# a row. All odds shrink towards one and the entropy climbs. At large $T$ every class looks plausible, at small $T$
# none but one:
# what the student is told lies between.
#
# ### What T changes *between* images
#
# The order of images by confidence does change: an image with one strong rival and an image with nine weak ones swap
# places.

# %% tags=["claim"]
validation_logits = predict_logits(teacher, validation.images)  # (297, 10)
winners = {temperature: soft_targets(validation_logits, temperature).argmax(dim=1) for temperature in (0.25, 1, 4, 20)}
confidence_1, confidence_8 = (soft_targets(validation_logits, temperature).max(dim=1).values for temperature in (1, 8))
swapped = (confidence_1[:, None] > confidence_1) & (confidence_8[:, None] < confidence_8)
print("predictions that T changes:", sum(int((winners[t] != winners[1]).sum()) for t in winners))
print("some pairs of images swap their order by confidence:", bool(swapped.any()))

# %% [markdown]
# ### T has a unit
#
# $p(cz, cT) = p(z, T)$: a teacher with logits twice as large needs twice the $T$ for the same soft labels. So "$T =
# 4$" says
# nothing until you know the logits. Below is the same network after two passes over the data and after nineteen; on
# the
# right, $T$ is read against how far the winning logit stands above the average one.

# %%
with seeded(0):
    beginner = soft_labels.SmallCNN()
fit(beginner, train.images, train.labels, epochs=2, lr=2e-3, batch_size=32)
grid = [2 ** (exponent / 2) for exponent in range(-4, 11)]
figure, axes = lab.new_figure(1, 2, height=2.7, sharey=True)
for (color, marker, line), (name, model) in zip(
    lab.SERIES, {"two passes": beginner, "nineteen": teacher}.items(), strict=False
):
    z = predict_logits(model, train.images)
    confidence = [float(soft_targets(z, t).max(dim=1).values.mean()) for t in grid]
    style = {"color": color, "marker": marker, "linestyle": line, "markersize": 4}
    axes[0].plot(grid, confidence, **style)
    lead = float((z.max(dim=1).values - z.mean(dim=1)).mean())  # in logits
    axes[1].plot([t / lead for t in grid], confidence, label=name, **style)
axes[0].set(xscale="log", ylim=(0, 1), xlabel="T", ylabel="mean largest probability")
axes[1].set(xscale="log", xlabel="T / lead of the winning logit")
axes[1].legend()
lab.show(
    figure,
    alt="Mean largest probability over T for a teacher after two passes and after nineteen. Over T the curves lie far "
    "apart; over T divided by the lead of the winning logit they nearly coincide.",
)

# %% [markdown]
# ## Is it knowledge, or noise?
#
# If the wrong classes mean something, they should follow the shapes of digits, image by image. Take a test image of
# an 8. Which *other* class has the
# nearest training image, pixel by pixel? The teacher never computed that. If its second choice agrees more often
# than second
# choices shuffled among images of the *same class*, it speaks about this image, not about eights at large.

# %%
test_logits = predict_logits(teacher, test.images)
second = test_logits.scatter(1, test.labels[:, None], -torch.inf).argmax(dim=1)  # best class apart from the label
distance = torch.cdist(test.images.flatten(1), train.images.flatten(1))
same_class = test.labels[:, None] == train.labels
nearest_other = train.labels[distance.masked_fill(same_class, torch.inf).argmin(dim=1)]


def agreement(choice):
    return float((choice == nearest_other).float().mean())


def shuffled_within_class(choice, generator):
    order = torch.randperm(len(choice), generator=generator)
    by_class = torch.argsort(test.labels, stable=True)
    return torch.empty_like(choice).scatter(0, by_class, choice[order[torch.argsort(test.labels[order], stable=True)]])


# %% tags=["claim"]
generator = torch.Generator().manual_seed(0)
control = [agreement(shuffled_within_class(second, generator)) for _ in range(500)]
figure, axes = lab.new_figure(height=2.3)
axes.hist(control, bins=20, color=lab.COLORS["sky"], edgecolor="white")
axes.axvline(agreement(second), color=lab.COLORS["vermillion"], linewidth=3)
axes.axvline(1 / 9, color=lab.INK, linestyle=":")
axes.text(agreement(second), axes.get_ylim()[1] * 0.9, " the teacher", color=lab.COLORS["vermillion"])
axes.text(1 / 9, axes.get_ylim()[1] * 0.9, " blind guess", color=lab.INK)
axes.set(xlim=(0, 0.7), xlabel="share of test images whose second choice is the nearest other class", ylabel="shuffles")
lab.show(
    figure,
    alt="Histogram of agreement after shuffling second choices within each class; the teacher's own agreement lies far "
    "to the right of all shuffles, which themselves lie right of a blind guess.",
)
print("the teacher agrees with the pixels more often than every one of 500 shuffles:", agreement(second) > max(control))

# %% [markdown]
# ### Not the same as label smoothing
#
# Label smoothing also softens: it takes a share from the label and spreads it *evenly*, the same for every image.
# Let it take as
# much as this teacher takes, and see what is missing.

# %%
row = picks[0]
label, p = int(train.labels[row]), soft_targets(teacher_logits[row], 8)
smooth = torch.full((10,), float(1 - p[label]) / 9)
smooth[label] = p[label]
share = float(1 - p[label]) * 10 / 9  # PyTorch spreads its share over all ten classes, the label included
z = teacher_logits[row]
assert_close(F.cross_entropy(z, torch.tensor(label), label_smoothing=share), F.cross_entropy(z, smooth))
print("class     ", "  ".join(f"{d:5d}" for d in digits))
print("teacher   ", "  ".join(f"{value:5.3f}" for value in p.tolist()))
print("smoothing ", "  ".join(f"{value:5.3f}" for value in smooth.tolist()))

# %% [markdown]
# ### Not the same as calibration
#
# A model is **calibrated** if among its predictions with confidence $c$ a share $c$ is right. *Temperature scaling*
# repairs overconfidence
# with one number: the $T$ that minimises the negative log-likelihood on validation data. It looks for the *true*
# probabilities;
# distillation takes the $T$ from which a student *learns best*. Take an overconfident student, trained on five
# images per class:

# %% tags=["claim"]
overconfident = soft_labels.train_student(train.subset(per_class=5), seed=0, lr=8e-3)
fitted = measure.fit_temperature(predict_logits(overconfident, validation.images), validation.labels)
z = predict_logits(overconfident, test.images)
figure, axes = lab.new_figure(1, 2, width=6, height=2.9, sharey=True)
error, nll = {}, {}
for panel, temperature in zip(axes, (1.0, fitted), strict=True):
    p = soft_targets(z, temperature)
    error[temperature] = measure.expected_calibration_error(p, test.labels)
    nll[temperature] = float(F.cross_entropy(z / temperature, test.labels))
    bins = [group for group in measure.reliability(p, test.labels, bins=10) if group.count >= 5]
    panel.plot([0, 1], [0, 1], color=lab.GREY, linestyle=":")
    panel.plot([g.confidence for g in bins], [g.accuracy for g in bins], "o-", color=lab.COLORS["blue"])
    panel.set(
        xlim=(0, 1), ylim=(0, 1), xlabel="confidence", title=f"T = {temperature:.2f}, ECE {error[temperature]:.3f}"
    )
axes[0].set_ylabel("share that is right")
lab.show(
    figure,
    alt="Reliability of an overconfident student. At T = 1 its accuracy lies below its confidence; divided by "
    "the fitted temperature it follows the diagonal more closely.",
)
print("test negative log-likelihood falls:", nll[fitted] < nll[1.0])
print("accuracy is the same:", torch.equal((z / fitted).argmax(dim=1), z.argmax(dim=1)))

# %% [markdown] tags=["step-measure"]
# ## Measure: do soft labels make a better student?
#
# Two regimes: five labels per class, and all thousand. Every arm gets the same images, the same initial weights per
# seed, the same number of
# steps and the same number of tuning trials, chosen on validation data. Watch the column that most papers leave out:
# **how many labels the teacher saw.**
# Below is the whole student, and what `benchmarks/soft_labels_study.py` wrote after minutes of tuning and ten seeds.

# %%
print(inspect.getsource(soft_labels.train_student))
study, record = load_results("soft_labels")
print(f"{record['date']}, torch {record['versions']['torch']}, {record['command']}")
study["few labels"]

# %% [markdown]
# Do not take a file's word for it. Run five of its seeds yourself, with the settings it chose.

# %% tags=["nbval-ignore-output"]
live = {
    regime: compare(soft_labels.arms(regime, teacher, settings=study[regime].chosen), seeds=range(5))
    for regime in study
}
live["few labels"]

# %% tags=["claim"]
few, stored = live["few labels"], study["few labels"]
informed, uninformed = "soft labels, teacher saw all", "soft labels, teacher saw the same"
gaps = [abs(a - b) for name in few.scores for a, b in zip(few.scores[name], stored.scores[name], strict=False)]
print("few labels, teacher saw all labels:", few.contrasts[informed].verdict)
print(
    "few labels, teacher saw no more than the student:",
    "no gain" if few.contrasts[uninformed].verdict != "better" else "a gain",
)
print("on average your runs agree with the file within 2 points:", sum(gaps) / len(gaps) < 0.02)

# %% [markdown]
# **Read the verdicts together.** Soft labels help a lot *when the teacher has seen labels that the student has not*:
# they carry
# those labels to it. Let the teacher see only the student's own, and the gain cannot be told from nothing.
#
# Your turn: find a setting of $T$ and $\alpha$ (the weight of the soft term) that helps, with an interval that says
# so. How many
# runs does it take? The panel scores on validation images; choosing on test images would spoil them.

# %% tags=["nbval-ignore-output"]
lab.DistillationLab(teacher, data)

# %% [markdown] tags=["step-false"]
# ## When is this false?
#
# Give the student every label the teacher had.

# %% tags=["claim"]
everything = live["all labels"].contrasts
print(study["all labels"], end="\n\n")
print("all labels, soft labels:", "no gain" if everything["soft labels"].verdict != "better" else "a gain")
print(
    "all labels, label smoothing ahead of soft labels:",
    everything["label smoothing"].difference > everything["soft labels"].difference,
)

# %% [markdown]
# With labels for every image, this teacher adds nothing to this student, and one line of label smoothing does better
# than the teacher. That is
# a result about small images, one teacher and one way of tuning, no law. But it is why "distillation improves the
# student" is
# no answer in an interview. "It did here, by this much, against this baseline, and the teacher saw this" is one.

# %% [markdown] tags=["step-broken"]
# ## Broken run: the double softmax
#
# A student whose last layer is a softmax, trained with `cross_entropy`, which applies softmax again. Nothing
# crashes. How low can
# its loss fall, with ten classes? The best it can offer is one at the label and zeros elsewhere, so never below
# $-\ln\frac{e}{e + 9}$.

# %% tags=["claim"]
floor = float(-F.log_softmax(F.one_hot(torch.tensor(0), 10).float(), dim=0)[0])
losses, accuracies = {}, {}
for name, ending in {"logits": torch.nn.Identity(), "double softmax": torch.nn.Softmax(dim=1)}.items():
    with seeded(0):
        student = torch.nn.Sequential(MLP(64, hidden=(32,)), ending)
    losses[name] = fit(student, train.images, train.labels, epochs=60, lr=8e-3).train_loss[-1]
    accuracies[name] = evaluate(student, validation.images, validation.labels).accuracy
print(f"floor of the double softmax: {floor:.4f}")
print("its training loss is stuck just above the floor:", floor < losses["double softmax"] < floor + 0.2)
print("without the second softmax it falls below a tenth of that:", losses["logits"] < floor / 10)
print("and yet it is right on nine validation images of ten:", accuracies["double softmax"] > 0.9)

# %% [markdown]
# **Symptom:** a loss that stops at a strange height, while accuracy looks almost fine. **Catch it:** feed one batch
# and look; outputs
# that are positive and sum to one are no logits. Accuracy alone would have let it pass.

# %% [markdown] tags=["step-tool"]
# ## The professional's tool
#
# For targets you met it: `torch.nn.functional.cross_entropy` takes probabilities as targets and has
# `label_smoothing`. For calibration it
# is scikit-learn's `CalibratedClassifierCV(method="temperature")`. Does it agree with your fitted temperature?

# %%
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator


class Scores(ClassifierMixin, BaseEstimator):
    """A classifier whose features are already its logits."""

    def fit(self, logits, labels):
        self.classes_ = np.unique(labels)
        return self

    def decision_function(self, logits):
        return logits

    def predict(self, logits):
        return logits.argmax(axis=1)


logits, labels = predict_logits(overconfident, validation.images).numpy(), validation.labels.numpy()
frozen = FrozenEstimator(Scores().fit(logits, labels))
scaled = CalibratedClassifierCV(frozen, method="temperature", ensemble=False).fit(logits, labels)
theirs = 1 / float(scaled.calibrated_classifiers_[0].calibrators[0].beta_)
print("scikit-learn finds the same temperature:", abs(theirs - fitted) < 0.01 * fitted)

# %% [markdown] tags=["step-exercises"]
# ## Exercises
#
# Answer the interview question from the top aloud, in two minutes, before you open the list below. Give yourself a
# point for each item.
#
# <details><summary>What a senior answer contains</summary>
#
# 1. A soft label is a distribution over all classes; the sizes of the *wrong* ones say what an image resembles. A
# hard label is silent on that.
# 2. Temperature divides logits and makes those sizes visible; it keeps the order of the classes, raises entropy, and
# has the unit of logits.
# 3. The gain comes mostly from what the teacher knows and the labels at hand do not: few labels, unlabeled images, a
# class nobody showed.
# 4. With all labels and a fair baseline it can be nothing, or less than label smoothing: you measured it.
# 5. How to find out: paired seeds, the baseline tuned as hard, an interval, and the labels that the teacher saw on
# the table.
#
# **Red flags:** "the teacher is more accurate, so the student is", "four is the standard temperature", "distillation
# always helps".
# </details>

# %% [markdown] tags=["step-takeaway"]
# ## Take away
#
# 1. A soft label is a whole distribution; its wrong classes follow the shapes of things.
# 2. Temperature divides logits: order stays, odds shrink, entropy grows at the rate $\mathrm{Var}_p[z]/T^3$. Read
# $T$ against the logits' scale.
# 3. Label smoothing spreads blindly, calibration looks for true probabilities, distillation for useful ones.
# 4. Stay in log space, and never softmax twice.
# 5. Always ask what the teacher saw.
#
# **Papers.** Hinton, Vinyals, Dean 2015, *Distilling the Knowledge in a Neural Network*, arXiv 1503.02531 (the
# unseen digit is their section 3).
# Guo, Pleiss, Sun, Weinberger 2017, *On Calibration of Modern Neural Networks*, arXiv 1706.04599. Müller, Kornblith,
# Hinton 2019, *When Does Label Smoothing
# Help?*, arXiv 1906.02629. Stanton, Izmailov, Kirichenko, Alemi, Wilson 2021, *Does Knowledge Distillation Really
# Work?*, arXiv 2106.05945.
#
# **Next:** lesson 02 derives the loss that you used here without looking inside, and hunts bugs in it.
