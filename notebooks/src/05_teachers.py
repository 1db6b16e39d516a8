# ---
# jupyter:
#   kdlab:
#     lesson: 5
#     minutes: 85
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["step-header"]
# # 05 · Who teaches
#
# After this lesson you can
#
# - **combine** several teachers in two ways that differ, and say which one you want;
# - **derive** a temperature per sample, from a spread or from an entropy;
# - **train** copies, chains and peers without a larger teacher, and find the missing `detach`;
# - **give** a student what only its teacher can see;
# - **read** a table of twenty-eight arms without picking the lucky one.
#
# **Time:** 85 minutes. **You should know** lessons 03 and 04. The code is in `kdlab.teachers`.
#
# > **Interview question.** "Does the best teacher make the best student? When would you take several teachers, an
# > assistant, or none?"

# %%
import math
from functools import partial

import torch
import torch.nn.functional as F
from IPython.display import display
from scipy import stats
from torch.testing import assert_close

from kdlab import kd_loss, lab
from kdlab.data import coarse, left_half, load_digits, right_half
from kdlab.exercises import ask, board, check, predict
from kdlab.experiments import compare
from kdlab.studies import load_results, methods
from kdlab.training import fit, predict_logits

torch.set_num_threads(1)
data = load_digits()
train, test = data.train, data.test
study, record = load_results("methods")
lab.show(lab.course_map(here=5), alt=lab.course_map_alt(here=5))

# %% [markdown] tags=["step-surprise"]
# ## Three abstracts
#
# All thousand labels, for student and teacher alike. Three ways to teach the student of lesson 04, each against plain
# training on labels: ten paired seeds, every arm tuned over eight settings, and an interval that lies above zero.

# %% tags=["claim"]
everything = study["all labels"]
print(f"the file: {record['date']}, torch {record['versions']['torch']}, {record['command']}")
for name in ("label smoothing", "similarity", "ensemble, logits"):
    one = everything.contrasts[name]
    low, high = (100 * bound for bound in one.interval)
    print(f"{name}: {100 * one.difference:+.1f} points ({low:+.1f} to {high:+.1f})")

# %% [markdown] tags=["step-predict"]
# **Predict.** The table that they come from has twenty-eight arms. How many of its intervals lie above zero? And how
# many arms are still "better" once the verdict knows that twenty-eight questions were asked?

# %%
predict("05-abstracts", {"intervals above zero": None, "better after correction": None})

# %% tags=["claim", "hide-answer"]
lab.show(
    lab.forest_chart({"all labels": everything.contrasts}, xlabel="points above hard labels, test images"),
    alt="Twenty-eight arms with their intervals. Most differences lie between minus one and plus two points; some "
    "intervals lie above zero, none below; no verdict is better or worse.",
)
above = [name for name, one in everything.contrasts.items() if one.interval[0] > 0]
below = [name for name, one in everything.contrasts.items() if one.interval[1] < 0]
left = [name for name, one in everything.contrasts.items() if one.verdict != "cannot tell"]
print(f"of {len(everything.contrasts)} intervals {len(below)} lie below zero, {len(above)} above: {', '.join(above)}")
print("left after Holm's correction:", ", ".join(left) or "none")
print("label smoothing, which has no teacher, is among them:", "label smoothing" in above)
scores = torch.tensor(list(everything.scores.values()), dtype=torch.float64)  # (arms, 10), the baseline first
gains = scores[1:] - scores[0]
flips = torch.cartesian_prod(*[torch.tensor([1.0, -1.0])] * 10)  # every choice of a sign for each seed
flipped = flips[:, None] * gains
lows = flipped.mean(-1) - stats.t.ppf(0.975, 9) * flipped.std(-1) / math.sqrt(10)
as_many = int(((lows > 0).sum(1) >= len(above)).sum())
print(f"with the seeds' signs turned in every way: as many above in {as_many} of {len(flips)}")
predict("05-abstracts", measured={"intervals above zero": len(above), "better after correction": len(left)})

# %% [markdown]
# Uncorrected, so many questions give about one false gain or loss. Here more point up than luck gives, and none down;
# but they share one baseline, and after correction no single arm can be named. Whoever tries one method and sees no
# table has one chance in four of a "gain". Keep the question for a regime in which there is something to teach.

# %% [markdown] tags=["step-idea"]
# ## The idea: a teacher is whatever gives an answer
#
# The loss of lesson 02 needs a distribution $p$ per sample, `(B, K)`. Anyone may give it:
#
# | who teaches | the idea | it costs |
# |---|---|---|
# | a larger network | knows more | its training |
# | several | their errors differ | as many trainings |
# | an assistant between | the gap is too wide | one more training |
# | the student's own copy (born again) | labels give no shares to other classes | one training per generation |
# | a peer (mutual learning) | two learn at once | two students |
# | one that sees another view | knows what the student cannot | pairs of views |
#
# Does a *better* teacher make a better student? In lesson 03, which widened the teacher, up to a point; beyond it no
# difference could be told. The reverse has been measured, too (Cho, Hariharan 2019): students of the largest teachers
# did worse, and teachers stopped early helped. This lesson varies who teaches, not how well.
#
# **Several teachers** with logits $z_m$ and soft targets $p_m^{(T)}$, $m = 1 \dots M$. Two averages:
#
# $$\bar p = \frac1M \sum_m p_m^{(T)} \quad \text{(probabilities)} \qquad
# \operatorname{softmax}\Big(\frac1T \cdot \frac1M \sum_m z_m\Big) \propto \prod_m \big(p_m^{(T)}\big)^{1/M} \quad
# \text{(logits)}$$
#
# The first says *or*: what one teacher believes keeps a share. The second multiplies, as *and* does: a low probability
# counts as a factor, so the teacher with the widest logits dominates. Only a zero excludes. How far they disagree is
# the entropy of the mean minus the mean of the entropies, in nats, all at $T = 1$:
# $D = H(\bar p) - \frac1M \sum_m H(p_m)$, zero if all agree, at most $\ln M$.

# %% [markdown] tags=["step-build"]
# ## Build it
#
# A teacher that is sure, and one that is torn between two others.


# %%
def mean_of_probabilities(z, T):  # z: (M, B, K)
    return (z / T).softmax(-1).mean(0)


def mean_of_logits(z, T):
    return (z.mean(0) / T).softmax(-1)


def entropy(p):
    return -(p * p.clamp(min=1e-30).log()).sum(-1)


members = torch.tensor([[[8.0, 0.0, 0.0, 0.0]], [[0.0, 4.0, 3.6, -6.0]]], dtype=torch.float64)  # (2, 1, 4)
rows = {"teacher A": members[0], "teacher B": members[1]}
shown = {f"{name}, T = {T}": (z / T).softmax(-1)[0] for T in (1, 4) for name, z in rows.items()}
for T in (1, 4):
    shown[f"or, T = {T}"] = mean_of_probabilities(members, T)[0]
    shown[f"and, T = {T}"] = mean_of_logits(members, T)[0]
for name, p in shown.items():
    print(f"{name:17}", [round(value, 3) for value in p.tolist()])
nats = entropy(mean_of_probabilities(members, 1)) - entropy(members.softmax(-1)).mean(0)
print(f"disagreement at T = 1: {nats.item():.3f} nats of at most {math.log(2):.3f}")

# %% [markdown]
# At $T = 1$ "or" is half and half, and "and" sides with the sure one. `average_probabilities` returns $T \ln \bar p$:
# right at that $T$ only. **A trap:** average at $T = 1$, keep the logarithm as "the ensemble's logits", and train at
# $T = 4$. Is that the ensemble at four?

# %% tags=["step-kdlab"]
from kdlab.teachers import (
    Cohort,
    average_logits,
    average_probabilities,
    disagreement,
    matched_temperature,
    mutual_loss,
    rowwise_kd_loss,
    standardize,
)

assert_close(average_probabilities(members, temperature=4.0).div(4).softmax(-1), mean_of_probabilities(members, 4))
assert_close(average_logits(members).div(4).softmax(-1), mean_of_logits(members, 4))
assert_close(disagreement(members), nats)
trap = average_probabilities(members, temperature=1.0).div(4).softmax(-1)
first = trap[0, 0].item(), mean_of_probabilities(members, 4)[0, 0].item()
print(f"the trap is the mean at T = 4: {math.isclose(*first)}; first class: {first[0]:.3f} against {first[1]:.3f}")
student = torch.randn(1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
soft = partial(kd_loss, temperature=4.0, alpha=1.0)
gradient = torch.autograd.grad(soft(student, average_probabilities(members, temperature=4.0)), student)[0]
each = [torch.autograd.grad(soft(student, z), student)[0] for z in members]
assert_close(gradient, (each[0] + each[1]) / 2)
print("the mean of the probabilities gives the mean of the teachers' gradients")

# %% [markdown]
# ## A temperature for every sample
#
# A teacher is sure of most digits and torn about some, and one $T$ treats all alike. Two ways to set it per row:
# **standardise** each row of logits, of student *and* teacher ($T_i = \tau s_i$, each with its own spread $s_i$), so
# that the student need not copy the teacher's scale; or choose $T_i$ so that every row has the same **entropy**:
# bisection finds it, since entropy only rises with $T$. `rowwise_kd_loss` multiplies row $i$ by $T_i^2$: with one
# entropy for all, sure rows get the higher $T_i$ and weigh more.


# %%
def my_temperature(z, wanted):  # z: (K,)
    low, high = 1e-2, 1e4
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if entropy((z / middle).softmax(-1)) > wanted else (middle, high)
    return low


teacher = methods.teachers(methods.REGIMES["all labels"], 0)
logits = predict_logits(teacher, test.images).double()
found = matched_temperature(logits, entropy=1.0)
assert_close(found[7].item(), my_temperature(logits[7], 1.0), rtol=1e-4, atol=0)
levels = torch.tensor([0.1, 0.5, 0.99], dtype=torch.float64)
spread = entropy(logits.softmax(-1)).quantile(levels).tolist()
print("entropy at T = 1 of ten, fifty and ninety-nine in a hundred digits, at most:", [round(x, 3) for x in spread])
own = entropy((logits / found[:, None]).softmax(-1))
print("each digit at its own T has one nat:", torch.allclose(own, torch.ones_like(own)))
z = standardize(logits)
assert_close(z, standardize(5 * logits + 3))
print("standardised logits do not see a row's scale or shift")
row_by_row = rowwise_kd_loss(z, logits, temperature=torch.full((500,), 4.0), alpha=1.0)
assert_close(row_by_row, kd_loss(z, logits, temperature=4.0, alpha=1.0))

# %% [markdown]
# ## No teacher at all
#
# In **mutual learning** two students $a$ and $b$ start apart and teach each other while they learn:
# $L_a = \mathrm{CE}(y, q_a) + \mathrm{KL}(q_b \| q_a)$, and the same for $b$. In $L_a$ the distribution $q_b$ is a
# *target*: no gradient may flow into it.


# %%
def my_mutual(z_a, z_b, y):
    def told_by(target, z):
        p = target.detach().softmax(1)
        return F.cross_entropy(z, y) + (p * (p.log() - z.log_softmax(1))).sum(1).mean()

    return told_by(z_b, z_a) + told_by(z_a, z_b)


z_a, z_b = torch.randn(2, 6, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
y = torch.arange(6)
assert_close(my_mutual(z_a, z_b, y), mutual_loss(torch.stack([z_a, z_b], dim=1), y))  # (B, M, K)
print("yours is kdlab's")

# %% [markdown] tags=["step-play"]
# ## Play
#
# A plane with three classes, few labels, and a teacher that has seen all points. **First a question:** with two labels
# per class, what does the teacher add if it answers for the labelled points only? And if it answers for all? Press
# Train and watch both boundaries form. Then look for a setting in which the teacher does *harm*.

# %% tags=["nbval-ignore-output"]
lab.playground_explorable()

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# With two labels per class the student alone guesses a few straight borders. A teacher that answers for the labelled
# points only moves them a little, from start to start this way or that; one that answers for *all* points nearly hands
# over its map. $T$ and alpha hardly matter for that. **Harm:** label all points, press "5 more starts": now the labels
# say all that the teacher knows, and its own errors come on top. The panel counts the luck of starts alone; points,
# teacher and held-out points stay the same.
# </details>

# %% [markdown] tags=["step-measure"]
# ## Measure: fifty labels
#
# The same arms. The student sees fifty images; the larger teachers saw all thousand labels, and answer for those fifty
# images alone. Peers and born-again parents saw the fifty. Four averages: of probabilities, of logits; by *confidence*,
# weighing each teacher by the probability that it gives the label; by *agreement*, where an image counts less the more
# its teachers disagree. *Decoupled* (KL taken apart) and *DIST* (correlations) are from lesson 04. **Predict:** three
# teachers for one: how many points more? An assistant in between? A copy of the student as its teacher, third
# generation, against labels alone? (In points.)

# %%
predict("05-who", {"three teachers, above one": None, "assistant, above none": None, "born again": None})

# %% tags=["hide-answer"]
few = study["50 labels, teacher saw all"]
above_one = few.against("distillation").contrasts
known = {
    "three teachers, above one": above_one["ensemble, probabilities"].difference,
    "assistant, above none": above_one["assistant"].difference,
    "born again": few.contrasts["born again"].difference,
}
predict("05-who", measured={name: 100 * value for name, value in known.items()})

# %% tags=["claim", "hide-answer"]
display(few)
lab.show(
    lab.forest_chart(
        {
            "against hard labels": {name: few.contrasts[name] for name in ("label smoothing", *methods.WHO)},
            "against distillation": {name: above_one[name] for name in (*methods.ANSWERS[1:], *methods.WHO)},
        },
        xlabel="points, test images, 50 labels",
    ),
    alt="Above hard labels: label smoothing five points, born again and mutual near zero, four ensembles and the "
    "assistant eleven to thirteen. Above distillation by one teacher: ensembles one and a half to two, one entropy "
    "for all and the assistant near zero, standardised logits and DIST below, the others far below.",
)

# %% tags=["claim", "hide-answer"]
for verdict in ("better", "worse"):
    found = [
        name for name in (*methods.ANSWERS, *methods.WHO) if name in above_one and above_one[name].verdict == verdict
    ]
    print(f"{verdict} than distillation by one teacher:", ", ".join(found) or "none")
kinds = [name for name in methods.WHO if name.startswith("ensemble")]
pairs = [few.against(one).contrasts[other].verdict for one in kinds for other in kinds if one != other]
print(f"{len(kinds)} averages, every pair:", set(pairs))
name = "ensemble, probabilities"
again = methods.arms("50 labels, teacher saw all")[name].run(0, **few.chosen[name]).test
print("one run repeated here agrees within 2 points:", abs(again - few.scores[name][0]) < 0.02)

# %% [markdown]
# Three teachers for one are worth one and a half to two points, told from nothing for two of the four averages; how you
# average makes no difference that can be told. An assistant changes nothing that can be told, and neither does a
# temperature for every sample. Decoupled distillation, with its paper's weights, is *worse* than the plain loss: the
# weight of the other classes was not among its tuning trials, and perhaps it should have been. Without a larger
# teacher, copies and peers gain nothing that can be told; label smoothing, which costs nothing, does. (Many arms chose
# the largest $T$ on offer, eight: a wider grid might lift them.)

# %% [markdown]
# ## A teacher with better eyes
#
# A teacher may see what the student never will, at training time only. **Privileged:** the student gets four by four
# pixels, its teacher all sixty-four, the same two hundred labels. **Two views:** the student gets the right half and
# fifty labels, the teacher the left half and all labels; pictures come in pairs, and the teacher answers for every
# pair, so labels *and* images change. No new loss is needed: `distill` takes the teacher's logits and the student's
# view.

# %% tags=["claim"]
pixels = train.images[:4]
views = {"what both stand for": pixels[0, 0], "student: coarse": coarse(pixels)[0, 0]}
views |= {"teacher: left half": left_half(pixels)[0, 0], "student: right half": right_half(pixels)[0, 0]}
lab.show(
    lab.matrix_row(views, per_row=4),
    alt="One digit in full, as four by four coarse pixels, and its left and its right half.",
)
eyes, _ = load_results("views")
for name, found in eyes.items():
    for arm, one in found.contrasts.items():
        low, high = (100 * bound for bound in one.interval)
        print(f"{name}: {arm}, labels seen {found.labels_seen[arm]}:", end=" ")
        print(f"{100 * one.difference:+.1f} points ({low:+.1f} to {high:+.1f}), {one.verdict}")

# %% [markdown]
# Whether the sharper eyes were worth anything cannot be told; the interval is narrow. A likely reason: with the same
# labels for the same pictures, a better-sighted teacher's answers are nearly those labels again. Across two views the
# gain is large, and mind what crossed the bridge: the labels of a thousand pictures, which this teacher had seen. With
# the student's own view and its fifty labels a teacher, asked for the same pairs, adds nothing that can be told. One
# control is missing: a teacher of the *left* half with fifty labels. Without it, view and labels cannot be separated.

# %% [markdown] tags=["step-false"]
# ## When is this false?
#
# In the table above the larger teachers had seen twenty times the student's labels. Take that away: most of the arms
# again, each teacher trained on the *same* fifty labels. **Predict:** how many arms beat label smoothing?

# %%
predict("05-same-labels", {"better than label smoothing": None})

# %% tags=["claim", "hide-answer"]
same = study["50 labels, teacher saw the same"]
arms = ["label smoothing", *methods.ANSWERS, *methods.WHO]
lab.show(
    lab.forest_chart(
        {"teacher saw the same 50": {name: same.contrasts[name] for name in arms}}, xlabel="points above hard labels"
    ),
    alt="Teachers that saw the same fifty labels. Label smoothing has the highest mean, about five points; ensembles, "
    "one entropy for all, distillation and the assistant lie close below; born again and mutual near zero.",
)

# %% tags=["claim", "hide-answer"]
wins = [name for name, one in same.contrasts.items() if one.verdict == "better"]
print(f"better than hard labels, {len(wins)} of {len(same.contrasts)} arms:", ", ".join(wins))
best = max(same.contrasts, key=lambda name: same.contrasts[name].difference)
level = [name for name, one in same.against(best).contrasts.items() if one.verdict == "cannot tell"]
print(f"highest mean: {best}; cannot be told from it, {len(level)}: {', '.join(level)}")
smooth = same.against("label smoothing").contrasts
beaten = [name for name, one in smooth.items() if one.verdict == "better"]
print("better than label smoothing:", ", ".join(beaten) or "none")
for title, table in {"teacher saw all": few, "teacher saw the same": same}.items():
    points = {name: f"{100 * table.contrasts[name].difference:+.1f}" for name in ("distillation", "label smoothing")}
    print(f"points above hard labels, {title}:", ", ".join(f"{name} {value}" for name, value in points.items()))
longer = study["all labels, four times the steps"].contrasts
print("all labels, four times the steps:", {name: one.verdict for name, one in longer.items()})
predict("05-same-labels", measured={"better than label smoothing": len(beaten)})

# %% [markdown]
# The highest mean has no teacher; the arms printed beside it cannot be told from it. Several still beat the labels
# alone, and *none* beats label smoothing. So more than half of distillation's gain went with the labels that the
# teacher had seen and the student had not, and teacher knowledge is not needed to explain the remainder. With all
# labels and four times the steps nothing can be told from the labels alone, either. One student, one data set, one
# budget: it is a table and no law. Make your own before you choose.

# %% [markdown] tags=["step-broken"]
# ## Broken run: the peer that follows
#
# The `detach` is missing on both sides. Both terms now also pull each peer's *target* towards the other: they may agree
# rather than learn. Does accuracy show it? Two peers, fifty labels, five paired seeds:


# %%
def without_detach(logits, labels, rows):
    z_a, z_b = logits.unbind(dim=1)
    both = F.cross_entropy(z_a, labels) + F.cross_entropy(z_b, labels)
    p_a, p_b = z_a.softmax(1), z_b.softmax(1)  # no detach
    return both + (p_a * (p_a.log() - p_b.log()) + p_b * (p_b.log() - p_a.log())).sum(1).mean()


def peers_after(seed, objective):
    peers = [methods.make_student(seed), methods.make_student(seed + 5_000)]
    fifty = train.subset(5, seed)
    fit(Cohort(peers), fifty.images, fifty.labels, objective=objective, epochs=100, lr=0.008, batch_size=32, seed=seed)
    return [predict_logits(peer, test.images) for peer in peers]


# %% tags=["claim"]
objectives = {"detached": lambda logits, labels, rows: mutual_loss(logits, labels), "forgotten": without_detach}
answers = {name: [peers_after(seed, one) for seed in range(5)] for name, one in objectives.items()}


def right(name, seed):
    return float((answers[name][seed][0].argmax(1) == test.labels).double().mean())


def alike(name, seed):
    a, b = answers[name][seed]
    return float((a.argmax(1) == b.argmax(1)).double().mean())


for question, measure in {"accuracy": right, "agreement of the peers": alike}.items():
    found = compare({name: partial(measure, name) for name in answers}, seeds=range(5), progress=False)
    print(f"{question}, detach forgotten against not: {found.verdict}")
for name, one in objectives.items():
    pair = peers_after(0, lambda z, y, rows, one=one: one(z, y, rows) - sum(F.cross_entropy(q, y) for q in z.unbind(1)))
    apart = (pair[0].softmax(1) - pair[1].softmax(1)).abs().max()
    accuracy = (pair[0].argmax(1) == test.labels).double().mean()
    print(f"without labels, {name}: answers less than 0.05 apart: {apart < 0.05}; right below 0.2: {accuracy < 0.2}")
z = torch.stack([z_a, z_b], dim=1).requires_grad_()
told = F.cross_entropy(z[:, 1], y) + kd_loss(z[:, 1], z_a, temperature=1.0, alpha=1.0)  # what b is to learn from
wanted = torch.autograd.grad(told, z)[0][:, 1]
for name, one in objectives.items():
    gradient = torch.autograd.grad(one(z, y, None), z)[0][:, 1]
    print(f"{name}: b's gradient is that of its own loss:", torch.allclose(gradient, wanted))

# %% [markdown]
# **Symptom:** none that five seeds show, with labels in the loss. Without labels *both* versions collapse to agreement
# at chance, so that tells you nothing about the detach either. **Catch it** by the gradient: $b$ must get that of its
# own loss.

# %% [markdown] tags=["step-tool"]
# ## The professional's tool
#
# An ensemble need not be a loop: `torch.func` stacks the weights of equal networks and runs all of them in one call.

# %% tags=["claim"]
from torch.func import functional_call, stack_module_state, vmap

ensemble = [methods.teachers(methods.REGIMES["all labels"], 0, member).eval() for member in range(3)]
weights, buffers = stack_module_state(ensemble)
with torch.no_grad():
    together = vmap(lambda w, b: functional_call(ensemble[0], (w, b), (test.images,)))(weights, buffers)  # (3, 500, 10)
loop = torch.stack([predict_logits(member, test.images) for member in ensemble])
assert_close(together, loop, rtol=1e-4, atol=1e-4)
print("three teachers in one call: the same logits as in a loop")

# %% [markdown] tags=["step-exercises"]
# ## Exercises
#
# The last one is the interview question from the top: your own words first, then the rubric.

# %%
ask("two-ways-to-average-teachers")

# %%
ask("soft-targets-of-several-teachers")


# %%
def mean_soft_targets(teacher_logits, temperature):
    """Logits [M, N, K] of M teachers -> probabilities [N, K], the mean of the teachers' at this temperature."""
    # your code here


check("soft-targets-of-several-teachers", mean_soft_targets)

# %%
ask("mutual-learning-without-detach")

# %%
ask("what-an-assistant-costs")

# %%
ask("why-a-copy-can-teach")

# %%
ask("standardised-logits")

# %%
ask("weights-by-confidence")

# %%
ask("fair-comparisons-of-teachers")

# %%
ask("does-the-best-teacher-make-the-best-student")

# %% [markdown]
# What you have done, what was hard, and what to look at again:

# %%
board()

# %% [markdown] tags=["step-takeaway"]
# ## Take away
#
# 1. "Or" or "and": averaging probabilities keeps every teacher's doubts, averaging logits lets the one with the widest
# logits dominate. Average at the temperature that you train at.
# 2. Three teachers for one gave one and a half to two points, told from nothing for two of four averages. How they were
# averaged, an assistant, a temperature per sample: no difference that could be told.
# 3. What taught most was a teacher that had seen more labels. With equal labels, nothing here beat label smoothing.
# 4. Many questions give some false gains. Correct for all of them, also for those that you do not print; what then
# remains may be a shift that all arms share, with no arm to name.
# 5. Against whom a method is compared decides what it seems to be worth: labels alone, plain distillation, or the same
# budget spent on the student.
#
# **Papers.** Cho, Hariharan 2019, *On the Efficacy of Knowledge Distillation*, arXiv 1910.01348. Furlanello et al.
# 2018, *Born Again Neural Networks*, arXiv 1805.04770. Zhang, Xiang, Hospedales, Lu 2018, *Deep Mutual Learning*, arXiv
# 1706.00384. Mirzadeh et al. 2020, *Improved Knowledge Distillation via Teacher Assistant*, arXiv 1902.03393. Zhang,
# Chen, Wang 2022, *Confidence-Aware Multi-Teacher Knowledge Distillation*, arXiv 2201.00007. Sun et al. 2024, *Logit
# Standardization in Knowledge Distillation*, arXiv 2403.01427. Lopez-Paz et al. 2016, *Unifying Distillation and
# Privileged Information*, arXiv 1511.03643. Gupta, Hoffman, Malik 2016, *Cross Modal Distillation for Supervision
# Transfer*, arXiv 1507.00448. Yuan et al. 2020, *Revisiting Knowledge Distillation via Label Smoothing Regularization*,
# arXiv 1909.11723.
#
# **Next:** lesson 06 leaves the teacher and takes the network itself apart: which weights can go?
