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
# - **derive** how entropy grows with temperature, and say what else it changes and what it never changes;
# - **test** whether what a teacher says about the wrong classes is information or noise;
# - **judge** a temperature by the scale of the logits it divides;
# - **tell** temperature, label smoothing and calibration **apart**;
# - **run** a comparison with an open outcome, and say what its interval covers and what its teacher had seen.
#
# **Time:** 75 minutes. **You should know** softmax, cross-entropy and a training step in PyTorch. The code is in
# `kdlab.losses`.
#
# > **Interview question.** "The labels are right and the teacher is sometimes wrong. Why would a student learn more
# > from the teacher than from the labels, what has temperature to do with it, and when does it learn nothing more?"

# %%
import math

import torch
import torch.nn.functional as F
from IPython.display import display
from torch.testing import assert_close

from kdlab import compare, kd_loss, lab, measure, soft_targets
from kdlab.data import load_digits
from kdlab.exercises import ask, board, check, predict
from kdlab.models import MLP
from kdlab.progress import progress
from kdlab.studies import load_results, soft_labels
from kdlab.training import distill, evaluate, fit, predict_logits, seeded

torch.set_num_threads(1)
data = load_digits()  # 8 by 8 pixels; the three parts never mix
train, validation, test = data.train, data.validation, data.test
print(
    f"{len(train)} training, {len(validation)} validation, {len(test)} test images, each {tuple(train.images[0].shape)}"
)
lab.show(lab.course_map(here=1), alt=lab.course_map_alt(here=1))

# %% [markdown] tags=["step-surprise"]
# ## A digit that nobody showed
#
# Train a teacher, a small convolutional network, on all ten digits. Then hide every image of a 6, and train a student
# on the rest. The student sees no 6, and no label at all: only, for each remaining image, the ten probabilities that
# the teacher gives, with the teacher's logits divided by a number $T$ before the softmax. (While it learns, its own
# logits are divided by the same $T$; in a test they are not. `alpha=1` means: listen to the teacher only.)

# %% tags=["nbval-ignore-output"]
teacher = soft_labels.train_teacher(train)
teacher_logits = predict_logits(teacher, train.images)  # (1000, 10)
print(f"teacher: {evaluate(teacher, validation.images, validation.labels).accuracy:.1%} right on validation images")


def recall_without(digit, temperature, epochs=60, lr=5e-3):
    """Share of validation images of `digit` that a student recognises which never saw one."""
    kept, shown = train.labels != digit, validation.labels == digit
    with seeded(0):
        student = MLP(in_features=64, hidden=(32,))
    distill(student, teacher_logits[kept], train.images[kept], temperature=temperature, alpha=1, epochs=epochs, lr=lr)
    return evaluate(student, validation.images[shown], validation.labels[shown]).accuracy


# %% [markdown] tags=["step-predict"]
# **Predict.** What share of the sixes will the student recognise, with $T = 1$ and with $T = 8$? Put your guesses in
# and run the cell; then the next two. The last hides each digit in turn: was 6 a lucky choice?

# %%
guess = {"T = 1": None, "T = 8": None}  # shares from 0 to 1, such as 0.2 or "20 %"
predict("01-unseen-six", guess)

# %% tags=["nbval-ignore-output", "hide-answer"]
recall = {f"T = {temperature}": recall_without(6, temperature) for temperature in (1, 8)}
predict("01-unseen-six", measured=recall)

# %% tags=["claim", "hide-answer", "fold-source"]
digits = range(10)
recalls = {t: [recall_without(digit, t) for digit in progress(digits, f"hiding digits, T = {t}")] for t in (1, 8)}
figure = lab.compare_points(
    {"T = 1": recalls[1], "T = 8": recalls[8]},
    ticks=digits,
    xlabel="digit hidden from the student",
    ylabel="share recognised",
    ylim=(0, 1),
)
lab.show(
    figure,
    alt="Share of an unseen digit that the student recognises, for each hidden digit. At T = 1 almost nothing; at "
    "T = 8 very different from digit to digit, most for the 6.",
)
print("with T = 1, unseen sixes found: fewer than one in ten:", recalls[1][6] < 0.1)
print("with T = 8: more than half:", recalls[8][6] > 0.5)
print("6 was a lucky choice, the average of all ten digits is below half:", sum(recalls[8]) / 10 < 0.5)
patient = recall_without(6, temperature=1, epochs=400)
print("with T = 1 and 400 passes in place of 60: more than a third:", patient > 1 / 3)

# %% [markdown] tags=["step-idea"]
# ## The idea: dark knowledge
#
# No 6 was shown, yet something about sixes got through, with the *other* digits: this 0 is a little like a 6, that 2
# is not. Geoffrey Hinton calls it **dark knowledge**. It lies in the wrong classes, where labels are silent. At $T =
# 1$ it is there, but so small that a student needs far more patience; temperature makes it loud. (The teacher did see
# sixes: knowledge travels.)
#
# A **soft label**, or soft target, is one probability distribution over all $K$ classes *per image*:
#
# $$p_k(T) = \frac{e^{z_k/T}}{\sum_{j=1}^{K} e^{z_j/T}}$$
#
# - $z$: the teacher's logits, shape `(N, K)`, here $K = 10$;
# - $T > 0$: the **temperature**, one number, in units of logits;
# - $p(T)$: probabilities, shape `(N, K)`, every row sums to one.

# %%
uncertain = soft_targets(teacher_logits, 1).max(dim=1).values.argsort().tolist()
hardest = {}  # class: the training image of it that the teacher is least sure of
for row in uncertain:
    hardest.setdefault(int(train.labels[row]), row)
picks = list(hardest.values())[:4]
figure = lab.soft_label_gallery(
    train.images[picks, 0],
    titles=[f"labelled {train.labels[row]}" for row in picks],
    groups={f"T = {t}": soft_targets(teacher_logits[picks], t) for t in (1, 8)},
)
lab.show(
    figure,
    alt="The four least certain training images of different classes, and the teacher's probabilities. At T = 1 most "
    "mass is on one class; at T = 8 the same logits show which other classes the teacher finds plausible.",
)

# %% [markdown] tags=["step-build"]
# ## Build it
#
# Before you run this, answer on paper: two classes have probabilities in the ratio nine to one at $T = 1$. What is
# the ratio at $T = 2$?


# %%
def softmax_with_temperature(z, temperature):
    scaled = (z - z.max(dim=-1, keepdim=True).values) / temperature  # the shift cancels, and prevents overflow
    return scaled.exp() / scaled.exp().sum(dim=-1, keepdim=True)


z = torch.tensor([4.0, 2.0, 0.0])
for temperature in (0.5, 1, 2, 4, 8):
    p = softmax_with_temperature(z, temperature)
    rounded = [round(value, 3) for value in p.tolist()]
    print(f"T = {temperature:<3}  p = {rounded}  entropy = {measure.entropy(p):.3f} nats")

# check by property
ones = torch.ones(3)
assert_close(softmax_with_temperature(z, 3.0).sum(), ones[0])  # 1. a distribution
assert_close(softmax_with_temperature(z + 100, 3.0), softmax_with_temperature(z, 3.0))  # 2. blind to a constant
nine_to_one = torch.tensor([0.9, 0.1]).log()  # log-probabilities are logits, too
assert_close(softmax_with_temperature(nine_to_one, 2.0), torch.tensor([0.75, 0.25]))  # 3. odds to the power 1/T
assert_close(softmax_with_temperature(z, 1e6), ones / 3, atol=1e-5, rtol=0)  # 4. uniform as T grows
assert_close(softmax_with_temperature(z, 1e-3), torch.tensor([1.0, 0.0, 0.0]))  # 5. one-hot as T vanishes
print("five properties hold")

# %% [markdown]
# Odds are $e^{(z_i - z_j)/T}$, so $T = 2$ takes the **square root of the odds**: three to one. Dividing
# *probabilities* by $T$ and renormalising would do nothing at all.
#
# **Entropy grows with $T$: derive it.** Write $\beta = 1/T$ and $Z = \sum_k e^{\beta z_k}$, so that $\log p_k = \beta
# z_k - \log Z$ and $H = -\sum_k p_k \log p_k = \log Z - \beta\,\mathbb{E}_p[z]$. Differentiate: $\frac{d}{d\beta}\log
# Z = \frac{1}{Z}\sum_k z_k e^{\beta z_k} = \mathbb{E}_p[z]$, and once more, with $\frac{dp_k}{d\beta} = p_k (z_k -
# \mathbb{E}_p[z])$, $\frac{d}{d\beta}\mathbb{E}_p[z] = \mathrm{Var}_p[z]$. In $\frac{dH}{d\beta}$ the two terms with
# $\mathbb{E}_p[z]$ cancel and $-\beta\,\mathrm{Var}_p[z]$ is left. With $d\beta/dT = -1/T^2$:
#
# $$\frac{dH}{dT} = \frac{\mathrm{Var}_{p(T)}[z]}{T^3} \;\ge\; 0,$$
#
# zero only if all logits are equal. Entropy rises for *every* image, towards $\ln K$. Check with autograd:

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
# One function, equal to yours, that refuses nonsense instead of returning NaN. And one habit: a loss needs the
# *logarithm* of the student's probabilities. `softmax(z).log()` rounds small ones to zero first; `log_softmax` never
# takes the log of a rounded zero. So every loss in `kdlab` takes logits.

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
# classes, the odds between two wrong classes, the entropy? Decide, then look for an image that proves you wrong.

# %% tags=["nbval-ignore-output"]
gallery = [*picks, 0, 1, 2, 3]
lab.temperature_explorable(train.images[gallery], teacher_logits[gallery], train.labels[gallery], id="temperature")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# The winner and the order of the classes stay: dividing by a positive number keeps the order within a row. The odds
# between any two classes move towards one as $T$ grows, and the entropy climbs towards $\ln 10$. A small $T$ tells
# the student the winner and no more; a very large one makes all classes look nearly alike.
# </details>
#
# ### What T changes, and what its unit is
#
# *Between* images the order by confidence can change: some pairs swap places. And $T$ has a unit: since $p(cz, cT) =
# p(z, T)$, a teacher with logits twice as large needs twice the $T$ for the same soft labels. "$T = 4$" means nothing
# without the scale of the logits. Below is the same network after two passes over the data and after nineteen; on the
# right, $T$ is read against the lead of the winning logit over the average one.

# %% tags=["claim"]
validation_logits = predict_logits(teacher, validation.images)  # (297, 10)
winners = {temperature: soft_targets(validation_logits, temperature).argmax(dim=1) for temperature in (0.25, 1, 4, 20)}
confidence_1, confidence_8 = (soft_targets(validation_logits, temperature).max(dim=1).values for temperature in (1, 8))
swapped = (confidence_1[:, None] > confidence_1) & (confidence_8[:, None] < confidence_8)
print("predictions that T changes:", sum(int((winners[t] != winners[1]).sum()) for t in winners))
print("some pairs of images swap their order by confidence:", bool(swapped.any()))

# %%
with seeded(0):
    beginner = soft_labels.SmallCNN()
fit(beginner, train.images, train.labels, epochs=2, lr=2e-3, batch_size=32)
grid = [2 ** (exponent / 2) for exponent in range(-4, 11)]
by_temperature, by_ratio = {}, {}
for name, model in {"two passes": beginner, "nineteen": teacher}.items():
    z = predict_logits(model, train.images)
    lead = float((z.max(dim=1).values - z.mean(dim=1)).mean())  # in logits
    confidence = [float(soft_targets(z, t).max(dim=1).values.mean()) for t in grid]
    by_temperature[name], by_ratio[name] = (grid, confidence), ([t / lead for t in grid], confidence)
panels = {"T": by_temperature, "T / lead of the winning logit": by_ratio}
figure = lab.line_panels(panels, ylabel="mean largest probability", ylim=(0, 1))
lab.show(
    figure,
    alt="Mean largest probability over T for a teacher after two passes and after nineteen. Over T the curves lie far "
    "apart; over T divided by the lead of the winning logit they lie close together.",
)

# %% [markdown]
# ## Is it knowledge, or noise?
#
# If the wrong classes mean something, they should follow the shapes of digits, image by image. Take a test image of
# an 8. Which *other* class has the nearest training image, pixel by pixel? The teacher's runner-up is the class it
# likes best apart from the label. If runners-up agree with the pixels more often than runners-up shuffled among
# images of the *same class*, the teacher speaks about this image, not about eights at large.

# %% tags=["claim"]
test_logits = predict_logits(teacher, test.images)
runner_up = test_logits.scatter(1, test.labels[:, None], -torch.inf).argmax(dim=1)  # best class apart from the label
distance = torch.cdist(test.images.flatten(1), train.images.flatten(1))
same_class = test.labels[:, None] == train.labels
nearest_other = train.labels[distance.masked_fill(same_class, torch.inf).argmin(dim=1)]
agreement = float((runner_up == nearest_other).float().mean())
shuffles = [measure.shuffle_within(runner_up, test.labels, seed=seed) for seed in range(500)]
control = [float((shuffled == nearest_other).float().mean()) for shuffled in shuffles]
label = "share of test images whose runner-up is the nearest other class"
figure = lab.null_distribution(agreement, control, chance=1 / 9, xlabel=label, xlim=(0, 0.7))
lab.show(
    figure,
    alt="Histogram of agreement after shuffling runners-up within each class; the teacher's own agreement lies far "
    "to the right of all shuffles, which themselves lie right of a blind guess.",
)
print("the teacher agrees with the pixels more often than every one of 500 shuffles:", agreement > max(control))
print("yet it disagrees with them on more than a third of the images:", agreement < 2 / 3)
errs = test_logits.argmax(dim=1) != test.labels
rank = (test_logits > test_logits.gather(1, test.labels[:, None])).sum(dim=1) + 1
print("where it errs, the label is always among its first three:", bool((rank[errs] <= 3).all()))

# %% [markdown]
# (Shuffles still know the class, so they beat a blind guess; the rest is about the image.)
#
# ## Not the same as label smoothing
#
# Label smoothing also softens: it takes a share from the label and spreads it *evenly*, the same for every image.
# Give the label the same probability that this teacher gives it, and see what is missing.

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
# ## Not the same as calibration
#
# A model is **calibrated** if among its predictions with confidence $c$ a share $c$ is right; the expected
# calibration error (ECE) is the mean absolute gap. *Temperature scaling* mends confidence with one number: the $T$
# that minimises the negative log-likelihood on validation data. It looks for the *true* probabilities; distillation
# takes the $T$ from which a student *learns best*. Take an overconfident student:

# %% tags=["claim"]
overconfident = soft_labels.train_student(train.subset(per_class=5), seed=0, lr=8e-3)
fitted = measure.fit_temperature(predict_logits(overconfident, validation.images), validation.labels)
z = predict_logits(overconfident, test.images)
error, nll, panels = {}, {}, {}
for temperature in (1.0, fitted):
    p = soft_targets(z, temperature)
    error[temperature] = measure.expected_calibration_error(p, test.labels)
    nll[temperature] = float(F.cross_entropy(z / temperature, test.labels))
    title = f"T = {temperature:.2f}, ECE {error[temperature]:.3f}"
    panels[title] = measure.reliability(p, test.labels, bins=10)
figure = lab.reliability_diagram(panels)
lab.show(
    figure,
    alt="Reliability of an overconfident student. At T = 1 its accuracy lies below its confidence; with its "
    "logits divided by the fitted temperature it follows the diagonal more closely.",
)
print("test negative log-likelihood falls:", nll[fitted] < nll[1.0])
print("accuracy is the same:", torch.equal((z / fitted).argmax(dim=1), z.argmax(dim=1)))

# %% [markdown] tags=["step-measure"]
# ## Measure: do soft labels make a better student?
#
# So far `distill` hid the loss. With $q$ for the student's probabilities and $y$ for the label:
#
# $$L = (1 - \alpha)\,\mathrm{CE}\big(y, q(1)\big) + \alpha\,T^2\,\mathrm{KL}\big(p(T)\,\|\,q(T)\big)$$
#
# ```text
# image ──┬── teacher, frozen ──── z_t / T ── softmax ── p(T) ──┐
#         │                                                     KL ── × α T² ────┐
#         └── student ──┬───────── z_s / T ── softmax ── q(T) ──┘                + ── L
#                       └───────── z_s ────── softmax ── q(1) ──┐                │
# label ─────────────────────────────────────────────────────── CE ── × (1 − α) ─┘
# ```
#
# In the soft term *both* are divided by $T$. That shrinks its gradient roughly like $1/T^2$, which the factor $T^2$
# makes good, so that $\alpha$ keeps its meaning as $T$ grows (lesson 02 derives it). One pass over the data:

# %%
T, alpha = 4.0, 0.9
with seeded(0):
    student = MLP(in_features=64, hidden=(32,))
optimizer = torch.optim.Adam(student.parameters(), lr=5e-3)
for rows in torch.randperm(len(train), generator=torch.Generator().manual_seed(0)).split(64):
    z_s, z_t, y = student(train.images[rows]), teacher_logits[rows], train.labels[rows]  # z_t has no gradient
    log_p, log_q = (z_t / T).log_softmax(dim=1), (z_s / T).log_softmax(dim=1)
    soft = F.kl_div(log_q, log_p, log_target=True, reduction="batchmean")  # KL(p || q): the student comes first here
    loss = (1 - alpha) * F.cross_entropy(z_s, y) + alpha * T**2 * soft
    assert_close(loss, kd_loss(z_s, z_t, y, temperature=T, alpha=alpha))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("your loss was kd_loss at every step")

# %% [markdown]
# Now the experiment, in two regimes: five labels per class, and all thousand. Per seed, every arm gets the same
# images (fifty new ones, or all), initial weights and number of steps; all get as many tuning trials
# (`soft_labels.GRIDS`, with `alpha=0.9`), chosen on validation images. Watch one column: **how many labels the
# teacher saw.** `benchmarks/soft_labels_study.py` tuned them and ran ten seeds. Run five *new* seeds yourself, with
# the settings it chose.

# %% tags=["nbval-ignore-output"]
study, record = load_results("soft_labels")
plan = soft_labels.arms("few labels", teacher, settings=study["few labels"].chosen)
live = compare(plan, seeds=range(10, 15))
live

# %% tags=["claim"]
print(f"the file: {record['date']}, torch {record['versions']['torch']}, {record['command']}")
display(study["few labels"])
informed, uninformed = "soft labels, teacher saw all", "soft labels, teacher saw the same"
print("new seeds, teacher saw all labels:", live.contrasts[informed].verdict)
no_gain = live.contrasts[uninformed].verdict != "better"
print("new seeds, teacher saw no more than the student:", "a gain cannot be told from zero" if no_gain else "a gain")
again = plan["hard labels"].run(0, **study["few labels"].chosen["hard labels"]).test
gap = abs(again - study["few labels"].scores["hard labels"][0])
print("the file's first run, repeated here, agrees within 2 points:", gap < 0.02)

# %% [markdown]
# **Read the verdicts together.** Soft labels help a lot *when the teacher knows more than the labels at hand*. Let it
# see only the student's own labels, and the gain cannot be told from zero.
#
# And which $T$? Predict the shape of the curve, then look: few labels, the well-informed teacher, each $T$ tuned
# anew.

# %% tags=["claim", "hide-answer", "fold-source"]
by_temperature = study["temperature"].contrasts
figure = lab.interval_chart(by_temperature, xlabel="temperature", ylabel="points above hard labels")
lab.show(
    figure,
    alt="Gain over hard labels for each temperature with its interval. T = 1 gains least; from T = 2 on the gains "
    "are larger and their intervals overlap.",
)
gains = {name: contrast.difference for name, contrast in by_temperature.items()}
print("T = 1:", by_temperature["T = 1"].verdict, "| T = 4:", by_temperature["T = 4"].verdict)
high = [gains[f"T = {t}"] for t in (4, 8, 16, 32)]
print("T = 1 gains least:", min(gains, key=gains.get) == "T = 1")
print("from T = 4 to T = 32 the gains differ by less than 2 points:", max(high) - min(high) < 0.02)

# %% [markdown]
# Knowing more is not enough: at $T = 1$ no gain can be told either. And no large $T$ stands out: with the factor
# $T^2$, the loss then compares the logits themselves, up to a constant.
#
# Your turn. Search for a $T$ and an $\alpha$ that help, as long as you like. Then freeze them, say how many runs you
# will make, and confirm with those. The panel scores on validation images; choosing on test images would spoil them.

# %% tags=["nbval-ignore-output"]
lab.DistillationLab(teacher, data)

# %% [markdown] tags=["step-false"]
# ## When is this false?
#
# Give the student every label the teacher had, and judge the trained models twice: on test images, and on the
# validation images that chose their settings.

# %% tags=["claim"]
display(study["all labels"])
for regime, name in (("few labels", informed), ("all labels", "soft labels"), ("all labels", "label smoothing")):
    print(f"{regime}, {name}:")
    for images, result in (("test", study[regime]), ("validation", study[regime].on_validation())):
        contrast = result.contrasts[name]
        low, high = (100 * bound for bound in contrast.interval)
        gain = f"{100 * contrast.difference:+.1f} points ({low:+.1f} to {high:+.1f})"
        print(f"   {images:10} images {gain}, {contrast.verdict}")

# %% [markdown]
# **Soft labels, all labels: two intervals that exclude zero, with opposite signs.** Such an interval asks whether
# other *seeds* would agree; here the images, the split and the teacher stay the same, so it is silent on those.
# (Settings flatter themselves where they were chosen, and some sit at the edge of their grid.) The gain with few
# labels keeps its sign, and so does that of label smoothing, which needs no teacher. This one does not survive a
# change of images.
#
# "Distillation improves the student" is no answer in an interview. "Here, by this much, against this baseline, and
# the teacher had seen this" is one.

# %% [markdown] tags=["step-broken"]
# ## Broken run: the double softmax
#
# A student whose last layer is a softmax, trained with `cross_entropy`, which applies softmax again. Nothing crashes.
# How low can its loss fall, with ten classes? Its outputs $o$ lie between zero and one; the loss $-o_y + \ln\sum_k
# e^{o_k}$ falls as $o_y$ rises and the others sink. So it can never fall below $-1 + \ln(e + 9)$. And its accuracy?

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
print(
    "its accuracy is within 2 points of the other's:", abs(accuracies["double softmax"] - accuracies["logits"]) < 0.02
)
print(f"the most that a softmax of its outputs can give one class: {math.exp(-floor):.3f}")

# %% [markdown]
# **Symptom:** a loss that stops at a strange height; here accuracy does *not* show it. **Catch it:** feed one batch
# and look; outputs that are positive and sum to one are probabilities, not logits. **Damage:** as a teacher at $T =
# 1$ it could never be surer than printed above.

# %% [markdown] tags=["step-tool"]
# ## The professional's tool
#
# For soft targets you already used it: `torch.nn.functional.cross_entropy` takes probabilities, and has
# `label_smoothing`. For calibration it is scikit-learn's `CalibratedClassifierCV(method="temperature")`, whose
# `beta_` is $1/T$. Do the two agree?

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
# Each card answers at once, and a wrong answer gets a reason; try one. What you type is saved outside this notebook.
# Where a card asks for code, write it in the cell below it and run that cell. The last two are questions from
# interviews: answer in your own words first, then score yourself. The very last is the one from the top of this lesson.

# %%
ask("odds-at-two")

# %%
ask("softmax-of-three")

# %%
ask("softmax-with-temperature")


# %%
def soften(z, temperature):
    """Logits [N, K] or [K] -> probabilities of the same shape: [0, 0] gives [0.5, 0.5] at any temperature."""
    # your code here


check("softmax-with-temperature", soften)

# %%
ask("what-temperature-keeps")

# %%
ask("temperature-reads-logits")

# %%
ask("smoothing-or-soft")

# %%
ask("entropy-of-soft-labels")


# %%
def entropy_bits(p):
    """Probabilities [N, K] -> entropy of each row in bits [N]: [[0.5, 0.5]] gives [1.0]."""
    # your code here


check("entropy-of-soft-labels", entropy_bits)

# %%
ask("entropy-grows-with-temperature")

# %%
ask("double-softmax-floor")

# %%
ask("temperature-for-confidence")


# %%
def find_temperature(z, confidence):
    """Logits [K], a confidence between 1/K and 1 -> T, a float: [ln 9, 0] and 0.75 give 2."""
    # your code here


check("temperature-for-confidence", find_temperature)

# %%
ask("how-soft-labels-are-made")

# %%
ask("labels-right-teacher-wrong")

# %% [markdown]
# What you have done, what was hard, and what to look at again:

# %%
board()

# %% [markdown] tags=["step-takeaway"]
# ## Take away
#
# 1. A soft label is a whole distribution; its wrong classes follow the shapes of things, far more than chance.
# 2. Temperature divides logits: the order stays, odds move towards one, entropy grows at the rate
# $\mathrm{Var}_p[z]/T^3$. Read $T$ against the scale of the logits.
# 3. Label smoothing spreads blindly, calibration looks for true probabilities, distillation for useful ones.
# 4. Stay in log space, and never softmax twice.
# 5. Always ask what the teacher saw, and what the interval covers.
#
# **Papers.** Hinton, Vinyals, Dean 2015, *Distilling the Knowledge in a Neural Network*, arXiv 1503.02531:
# temperature, and in section 3 a student that never saw a 3. Guo, Pleiss, Sun, Weinberger 2017, *On Calibration of
# Modern Neural Networks*, arXiv 1706.04599: temperature scaling. Müller, Kornblith, Hinton 2019, *When Does Label
# Smoothing Help?*, arXiv 1906.02629: smoothing helps a network and hurts it as a teacher. Stanton, Izmailov,
# Kirichenko, Alemi, Wilson 2021, *Does Knowledge Distillation Really Work?*, arXiv 2106.05945: students often
# disagree with their teachers even when they could match them.
#
# **Next:** lesson 02 derives the loss that you wrote out here, and hunts bugs in it.
