# ---
# jupyter:
#   kdlab:
#     lesson: 2
#     minutes: 70
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["step-header"]
# # 02b · Relatives of the loss, and a bug hunt
#
# After this lesson you can
#
# - **tell** forward KL, reverse KL, Jensen-Shannon and logit matching apart by what each forgives;
# - **choose** between them for a student that is too small, and say when the choice does not matter;
# - **test** a loss by its properties, and name the fault by the property that breaks;
# - **say** why accuracy validates no loss, and which number would have shown each fault.
#
# **Time:** 70 minutes. **You should know** lesson 02a: the loss, its gradient, the factor $T^2$. The code is in
# `kdlab.losses`, the properties in `kdlab.loss_properties`.
#
# > **Interview question.** "This repository's distillation loss has five hundred stars, and its student reaches the
# > accuracy in the README. How do you find out whether the loss is right?"

# %%
import inspect

import torch
import torch.nn.functional as F
from IPython.display import display
from torch.testing import assert_close

from kdlab import kd_loss, lab
from kdlab.exercises import ask, board, check, predict
from kdlab.loss_properties import PROPERTIES, examine, soft_only
from kdlab.losses import js_loss, mse_logit_loss, reverse_kl_loss
from kdlab.measure import entropy
from kdlab.studies import divergences, faulty_losses, load_results
from kdlab.studies.faulty_losses import FAULTS, SUSPECTS

torch.set_num_threads(1)
study, record = load_results("faulty_losses")
lab.show(lab.course_map(here=2), alt=lab.course_map_alt(here=2))

# %% [markdown] tags=["step-surprise"]
# ## Nine wrong losses and a right one
#
# Ten distillation losses, A to J. Nine are wrong: each is re-created from an article or a code base (the list of faults
# below says which kind). With each, ten students were trained on the digits, all thousand labels, at $T = 4$ and
# `alpha=0.9`; the learning rate was tuned for each loss on its own (`benchmarks/faulty_losses_study.py`). Seeds are
# paired, so each difference to the right loss has an interval.

# %% [markdown] tags=["step-predict"]
# **Predict.** Of the nine wrong losses, how many have students whose test accuracy is *worse*, beyond doubt, than with
# the right one? And how many are *better*?

# %%
predict("02-visible-faults", {"worse": None, "better": None})  # counts from 0 to 9

# %% tags=["claim", "hide-answer", "fold-source"]
faulty = [name for name in SUSPECTS if FAULTS[name] != "none"]
everything = study["all labels"]
verdicts = [everything.contrasts[name].verdict for name in faulty]
print(f"the file: {record['date']}, torch {record['versions']['torch']}, {record['command']}")


def against_the_right_loss(result, name):
    low, high = (100 * bound for bound in result.contrasts[name].interval)
    return (
        f"{100 * result.contrasts[name].difference:+6.1f} ({low:+.1f} to {high:+.1f})  {result.contrasts[name].verdict}"
    )


for name in sorted([*faulty, "labels alone"], key=lambda name: everything.contrasts[name].difference):
    print(f"{name:13} {against_the_right_loss(everything, name)}")
predict("02-visible-faults", measured={verdict: verdicts.count(verdict) for verdict in ("worse", "better")})

# %% [markdown]
# Points of accuracy. Were these all you had, which code would you ship? (The labels alone do as well as the right loss:
# where there is nothing to gain, there is little for a fault to spoil. The end of the hunt looks at another regime.)
# First the loss's honest relatives, then the hunt.

# %% [markdown] tags=["step-idea"]
# ## The idea: a divergence is a choice of what to forgive
#
# KL is not symmetric. $p$ is the teacher, $q$ the student, both shape `(K,)`:
#
# $$\underbrace{\mathrm{KL}(p\|q) = \sum_k p_k \ln\frac{p_k}{q_k}}_{\text{forward: what } kd\_loss \text{ uses}}
# \qquad \underbrace{\mathrm{KL}(q\|p) = \sum_k q_k \ln\frac{q_k}{p_k}}_{\text{reverse}}$$
#
# The distribution in *front* decides where the log-ratio counts. **Forward**: wherever the *teacher* puts mass, a
# student that has none there pays without bound; so it covers everything. **Reverse**: wherever the *student* puts
# mass, it pays for what the teacher rules out; leaving a mode out is cheap. So it seeks one mode.
#
# With free logits both end at $q = p$. They differ when the student *cannot* be the teacher. Let the teacher have two
# bumps over 61 classes in a row, and let the student be one bump: two parameters, place and width.

# %%
x = torch.linspace(-6, 6, 61, dtype=torch.float64)  # (K,)


def bump(place, width):
    return -((x - place) ** 2) / (2 * width**2)


teacher_bumps = torch.log(0.6 * bump(-2.0, 0.6).softmax(0) + 0.4 * bump(2.5, 0.6).softmax(0))[None]  # logits (1, K)
RELATIVES = {
    "forward KL": lambda s, t: kd_loss(s, t, temperature=1.0, alpha=1.0),
    "reverse KL": lambda s, t: reverse_kl_loss(s, t, temperature=1.0),
    "JS": lambda s, t: js_loss(s, t, temperature=1.0),
    "logit MSE": mse_logit_loss,
}


def minimise(logits_of, start, loss):
    """L-BFGS on a few numbers: the smallest loss that it finds, and where."""
    values = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([values], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        value = loss(logits_of(values)[None], teacher_bumps)
        value.backward()
        return value

    optimizer.step(closure)
    return float(closure().detach()), values.detach()


def one_bump(v):
    return bump(v[0], v[1].exp())


# %% tags=["claim"]
best = {}
for name, loss in RELATIVES.items():  # from three starts, for not all of these have a single minimum
    best[name] = min(
        (minimise(one_bump, [start, 0.0], loss) for start in (-2.0, 0.0, 2.0)), key=lambda found: found[0]
    )[1]
fits = {name: one_bump(values).softmax(0) for name, values in best.items()}
figure = lab.fitted_curves(
    x, teacher_bumps.softmax(1)[0], fits, xlabel="class", ylabel="probability", target_name="teacher"
)
lab.show(
    figure,
    alt="A teacher with two bumps and four students of one bump each. Forward KL is broad and lies over both bumps; "
    "reverse KL and JS sit on the larger one with its width; logit MSE has its peak between them.",
)
width = {name: float(values[1].exp()) for name, values in best.items()}
for name, values in best.items():
    print(f"{name:10}  place {values[0]:+.2f}  width {width[name]:.2f}")
print("forward KL covers: its width is over three times the bumps':", width["forward KL"] > 1.8)
print(
    "reverse KL seeks: it is the larger bump:", bool(abs(best["reverse KL"][0] + 2) < 0.1 and width["reverse KL"] < 0.7)
)

# %% [markdown]
# Forward KL puts its peak *between* the bumps, where the teacher believes nothing: as a classifier's error that looks
# foolish; for a calibrated spread of opinions it is the honest average. Reverse KL is sure, and silent about the other
# bump. Neither is wrong. Which error costs *you* more?

# %% [markdown] tags=["step-build"]
# ## Build them
#
# With $m = \frac12(p + q)$, **Jensen-Shannon** is $\frac12 \mathrm{KL}(p\|m) + \frac12\mathrm{KL}(q\|m)$: symmetric,
# and never above $\ln 2$. **Logit MSE** compares the logits themselves, each row centred first, since no softmax sees
# a constant: $\frac{1}{2K}\sum_k[(z^s_k - \bar z^s) - (z^t_k - \bar z^t)]^2$.


# %%
def my_reverse(z_s, z_t, T=1.0):
    log_p, log_q = (z_t / T).log_softmax(1), (z_s / T).log_softmax(1)
    return T**2 * (log_q.exp() * (log_q - log_p)).sum(1).mean()


def my_js(z_s, z_t, T=1.0):
    p, q = (z_t / T).softmax(1), (z_s / T).softmax(1)
    m = (p + q) / 2
    return T**2 * (entropy(m) - entropy(p) / 2 - entropy(q) / 2).mean()  # the same as the two KLs: try it on paper


def my_mse(z_s, z_t):
    gap = z_s - z_t
    return ((gap - gap.mean(1, keepdim=True)) ** 2).mean() / 2


# %% tags=["step-kdlab"]
generator = torch.Generator().manual_seed(0)
z_s, z_t = 3 * torch.randn(2, 200, 10, dtype=torch.float64, generator=generator)
assert_close(my_reverse(z_s, z_t, 4.0), reverse_kl_loss(z_s, z_t, temperature=4.0))
assert_close(my_js(z_s, z_t, 4.0), js_loss(z_s, z_t, temperature=4.0))
assert_close(my_mse(z_s, z_t), mse_logit_loss(z_s, z_t))
print("yours are kdlab's")
assert_close(reverse_kl_loss(z_s, z_t, temperature=2.0), kd_loss(z_t, z_s, temperature=2.0, alpha=1.0))
near = z_t + 0.01 * z_s
ratio = kd_loss(near, z_t, temperature=1.0, alpha=1.0) / js_loss(near, z_t, temperature=1.0)
both = kd_loss(near, z_t, temperature=1.0, alpha=1.0) / reverse_kl_loss(near, z_t, temperature=1.0)
print(f"near agreement forward KL is {both:.2f} times reverse KL, and {ratio:.2f} times JS")
print("what reverse KL is not:", [name.replace("_", " ") for name in examine(soft_only(reverse_kl_loss)).violated])

# %% [markdown]
# ### How loud is each, when the student is sure and wrong?
#
# A value says little; the gradient teaches. Two classes, a teacher that gives the second one 95 in 100, and a student
# that leans to the first by $c$ logits, more and more:

# %% tags=["claim"]
lean = torch.linspace(0, 14, 29, dtype=torch.float64)
torn = torch.tensor([0.05, 0.95], dtype=torch.float64).log()[None]


def loudness(loss, c):
    leaf = torch.tensor([[float(c), 0.0]], dtype=torch.float64, requires_grad=True)
    return float(torch.autograd.grad(loss(leaf, torn), leaf)[0].norm())


squared = {"MSE of probabilities": lambda s, t: (s.softmax(1) - t.softmax(1)).square().sum()}
curves = {name: (lean, [loudness(loss, c) for c in lean]) for name, loss in (RELATIVES | squared).items()}
figure = lab.line_panels(
    {"how far the student leans to the wrong class (logits)": curves},
    ylabel="norm of the gradient", ylim=(1e-5, 20), xscale="linear", yscale="log",
)  # fmt: skip
lab.show(
    figure,
    alt="Gradient norm of five losses over how sure the wrong student is, logarithmic. Forward KL stays near one, "
    "logit MSE grows, reverse KL, JS and the squared error of probabilities fall by orders of magnitude.",
)
last = {name: values[-1] for name, (_, values) in curves.items()}
quiet = ("reverse KL", "JS", "MSE of probabilities")
print("nearly silent, under a thousandth of forward KL:", [n for n in quiet if last[n] < last["forward KL"] / 1000])
print("louder than forward KL, and growing:", [n for n in last if last[n] > last["forward KL"]])

# %% [markdown]
# Forward KL corrects such a student at full strength: $q - p$ never vanishes while they disagree. Reverse KL does
# not. Differentiate $\sum_k q_k r_k$ with $r_k = \ln\frac{q_k}{p_k}$, using $\frac{\partial q_k}{\partial z_j} =
# q_k(\delta_{jk} - q_j)$: the gradient is $q_j\,(r_j - \sum_k q_k r_k)$, and JS has the same factor $q_j$ in front. A
# class that the student has all but given up gets next to no gradient, and stays given up. (Squared error of
# *probabilities* is not logit MSE.)

# %% [markdown] tags=["step-play"]
# ## Play
#
# A student that is nothing but free logits goes downhill. **First a question:** with $\alpha = 1$, which of the four
# losses end at the teacher's distribution? And with $\alpha = \frac12$ and a label that the teacher does not favour,
# do all four end in the same place?

# %% tags=["nbval-ignore-output"]
lab.descent_explorable(torch.tensor([3.0, 1.5, 1.0, 0.0, -1.0]), label=1, id="descent", faulty=False)

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# With $\alpha = 1$ all four end at the teacher, by different paths. With $\alpha = \frac12$ the label pulls, and they
# part: at small $T$ the label nearly wins against reverse KL and JS, whose gradient is faint where the student is
# sure; forward KL holds it back.
# </details>

# %% [markdown] tags=["step-measure"]
# ## Measure: does the choice matter on digits?
#
# Five labels per class, a teacher that saw all thousand: the regime in which a teacher helped in lesson 01. Each
# divergence takes the place of the soft term, at $T = 4$, `alpha=0.9`, scaled so that at the start all gradients
# are equally long; eight learning rates each, ten paired seeds. (DIST matches correlations instead of values: Huang
# and others 2022.) **Predict:** how many of the four relatives are told from forward KL?

# %%
predict("02-relatives", {"told from forward KL": None})  # a count from 0 to 4

# %% tags=["claim", "hide-answer"]
choice = load_results("divergences")[0]["few labels"]
display(choice)
figure = lab.interval_chart(choice.contrasts, xlabel="soft term", ylabel="points above forward KL")
lab.show(
    figure,
    alt="Difference in test accuracy to forward KL, with intervals: reverse KL, JS, logit MSE, DIST, and the labels "
    "alone.",
)
told = [name for name, one in choice.contrasts.items() if one.verdict != "cannot tell"]
print("told from forward KL:", told)
live = divergences.arms(settings=choice.chosen)["reverse KL"].run(0, **choice.chosen["reverse KL"])
gap = abs(live.test - choice.scores["reverse KL"][0])
print("the file's first run of reverse KL, repeated here, agrees within 2 points:", gap < 0.02)
predict("02-relatives", measured={"told from forward KL": len(set(told) - {"labels alone"})})

# %% [markdown]
# Having a teacher matters; between the divergences no difference is shown. That is not "they are equal": the intervals
# say how much is still possible. (DIST's excludes zero, its verdict does not: there are five comparisons, and the
# verdict is corrected for that, the interval is not.)

# %% [markdown] tags=["step-false"]
# ## When is this false?
#
# Mode covering against mode seeking is the best-known fact about KL, and it is a fact about students that are *too
# small*. Give the student a second bump. Start it twice: with its bumps apart, and with both on the teacher's larger
# one.


# %% tags=["claim"]
def two_bumps(v):
    first, second = (bump(v[i], v[i + 1].exp()).log_softmax(0) for i in (0, 2))
    return torch.logaddexp(first + F.logsigmoid(v[4]), second + F.logsigmoid(-v[4]))


teacher_p = teacher_bumps.softmax(1)[0]
starts = {"bumps apart": [-1.0, 0.0, 1.0, 0.0, 0.0], "both on the larger": [-2.0, -0.5, -2.5, -0.5, 0.0]}
for name, loss in RELATIVES.items():
    ends = []
    for start in starts.values():
        q = two_bumps(minimise(two_bumps, start, loss)[1]).softmax(0)
        ends.append("the teacher" if float((q - teacher_p).abs().sum()) / 2 < 0.01 else "one bump is missing")
    print(f"{name:10} " + "; ".join(f"{key}: {end}" for key, end in zip(starts, ends, strict=True)))

# %% [markdown]
# A student that *can* be the teacher has the teacher as its best answer under every one of them; the choice of target
# is gone. The choice of *path* is not: a bump that was given up is not found again by reverse KL.

# %% [markdown] tags=["step-broken"]
# ## The bug hunt
#
# Ten suspects. Each is called as `kd_loss` is; each function below returns its soft term, and the logits from which
# its supervised term is computed. Read them as you would review a colleague's code. One is right.

# %%
for name in "ABCDE":
    print(name, "\n".join(inspect.getsource(SUSPECTS[name].__wrapped__).splitlines()[1:]), sep="\n")

# %%
for name in "FGHIJ":
    print(name, "\n".join(inspect.getsource(SUSPECTS[name].__wrapped__).splitlines()[1:]), sep="\n")

# %%
predict("02-right-suspect", {"the right one": None, "faults you are sure of": None})  # such as "C" and 4

# %% [markdown]
# Now ask them. `examine` puts each through the list of properties that kdlab's own tests use. Find, for every suspect,
# the property that gives it away; a cross is a violation.

# %% tags=["hide-answer"]
reports = {name: examine(loss) for name, loss in SUSPECTS.items()}
rows = [name for name in PROPERTIES if any(name in report.violated for report in reports.values())]
lab.show(
    lab.property_matrix({name: list(report.violated) for name, report in reports.items()}, rows),
    alt="Matrix of properties by suspects. One suspect has no cross; every other has its own pattern of crosses, from "
    "three to ten.",
)

# %%
for name, giveaway in {
    "A": "free_logits_end_at_the_teachers_distribution", "B": "free_logits_end_at_the_teachers_distribution",
    "C": "gradient_does_not_fade_with_temperature", "D": "equals_the_kl_of_torch_distributions",
    "F": "never_negative", "G": "alpha_zero_is_cross_entropy", "H": "zero_when_logits_agree",
    "I": "zero_when_logits_agree", "J": "gradient_does_not_fade_with_temperature",
}.items():  # fmt: skip
    print(f"{name}. {giveaway.replace('_', ' ')}:\n   {reports[name].violated[giveaway]}")

# %% tags=["claim", "hide-answer"]
innocent = [name for name, report in reports.items() if not report.violated]
predict("02-right-suspect", measured={"the right one": innocent[0], "faults you are sure of": 9})
patterns = {tuple(sorted(report.violated)) for report in reports.values()}
print("exactly one suspect has every property:", len(innocent) == 1)
print("no two suspects violate the same properties:", len(patterns) == len(reports))
zero = [name for name, report in reports.items() if "zero_when_logits_agree" in report.held and report.violated]
print("suspects that are zero at equality and still wrong:", zero)

# %% tags=["hide-answer"]
for name, fault in FAULTS.items():
    print(f"{name}: {fault}")

# %% [markdown]
# One row of the matrix finds all nine: the closed form of the gradient, lesson 02a's result. (A's and B's hard term is
# right; they fail its row because that property wants the *soft* term to be zero at equality.)
#
# **Derive A's end, it is worth it.** $\mathrm{kl\_div}(p, q)$ without logarithms computes $\sum_k q_k(\ln q_k - p_k)$:
# the *target* of `F.kl_div` is the student here. Minimise over $q$ with $\sum_k q_k = 1$ and a Lagrange multiplier
# $\lambda$: $\ln q_k + 1 - p_k = \lambda$, so $q \propto e^{p}$, the softmax of the teacher's *probabilities*. B has no
# $\ln q$ at all: $-\sum_k p_k q_k$ is linear in $q$, and a linear function on a simplex is lowest at a corner: one-hot.
#
# And without properties? The same students judged by negative log-likelihood; and students of fifty labels, where the
# teacher, who saw all thousand, has something to give:

# %% tags=["claim"]
few = study["50 labels"]
views = {"all labels, accuracy": everything, "all labels, NLL": everything.on("nll", higher_is_better=False)}
views |= {"50 labels, accuracy": few, "50 labels, NLL": few.on("nll", higher_is_better=False)}
print("points of accuracy with 50 labels, against the right loss:")
for name in ["labels alone", *faulty]:
    print(f"   {name:13} {against_the_right_loss(few, name)}")
print(f"\n{'':3}" + "".join(f"{view:23}" for view in views))
for name in faulty:
    print(f"{name:3}" + "".join(f"{view.contrasts[name].verdict:23}" for view in views.values()))
found = {title: [name for name in faulty if view.contrasts[name].verdict == "worse"] for title, view in views.items()}
print("exposed as worse:", {title: "".join(names) for title, names in found.items()})
print("faults that none of the four exposes:", [n for n in faulty if not any(n in names for names in found.values())])
live = faulty_losses.arms("all labels", settings=everything.chosen)["A"].run(0, **everything.chosen["A"])
gap = abs(live.test - everything.scores["A"][0])
print("the file's first run of A, repeated here, agrees within 2 points:", gap < 0.02)

# %% [markdown]
# Suspect A is better than right in one regime and far worse in the other. (A likely reason, not measured here: its
# flat targets act like strong label smoothing, and can say little of what the teacher knows.) So accuracy *can* find
# a fault, if you test where the right loss has a gain to lose. Some faults no column exposes: constants, and a
# divergence turned round. They wait for another temperature or another number of classes. The properties find all
# nine in seconds, and train nothing: put `examine(your_loss)` into a test.
#
# Now watch the faulty ones go downhill. Which of them keep the teacher's favourite class on top, so that accuracy would
# see nothing?

# %% tags=["nbval-ignore-output"]
lab.descent_explorable(torch.tensor([3.0, 1.5, 1.0, 0.0, -1.0]), label=1, id="faulty-descent", loss="no_log")

# %% [markdown] tags=["step-tool"]
# ## The professional's tool
#
# A second, independent implementation is the best witness. SciPy has these divergences; mind its conventions, which
# are a bug hunt of their own.

# %%
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr

p, q = z_t.softmax(1).numpy(), z_s.softmax(1).numpy()
forward = torch.tensor(rel_entr(p, q).sum(axis=1)).mean()
assert_close(forward, kd_loss(z_s, z_t, temperature=1.0, alpha=1.0))
distance = torch.tensor(jensenshannon(p, q, axis=1))
assert_close((distance**2).mean(), js_loss(z_s, z_t, temperature=1.0))
print("scipy's jensenshannon is the square root of the divergence; squared, it agrees with js_loss")

# %% [markdown] tags=["step-exercises"]
# ## Exercises
#
# Two more bugs from the wild, a loss to break with a single input, and an interview question to answer in your own
# words.

# %%
ask("forward-and-reverse-kl")

# %%
ask("kl-div-swapped-without-log")

# %%
ask("simplification-without-teacher")

# %%
ask("input-that-freezes-the-student")


# %%
def article_loss(student_logits, teacher_logits, labels):
    """Its supervised term looks at the teacher, its divergence runs from the student."""
    log_q, log_p = student_logits.log_softmax(dim=-1), teacher_logits.log_softmax(dim=-1)
    reverse = (log_q.exp() * (log_q - log_p)).sum(dim=-1).mean()
    return 0.5 * torch.nn.functional.cross_entropy(teacher_logits, labels) + 0.5 * reverse


def freeze():
    """-> student_logits [1, K], teacher_logits [1, K], labels [1]"""
    # your code here


check("input-that-freezes-the-student", freeze)

# %%
ask("types-of-distillation-loss")

# %% [markdown]
# What you have done, what was hard, and what to look at again:

# %%
board()

# %% [markdown] tags=["step-takeaway"]
# ## Take away
#
# 1. Forward KL covers, reverse KL seeks, JS is bounded, logit MSE weighs every class alike. With free logits all four
# end at the teacher; the choice matters for a student that is too small.
# 2. A class that the student has all but given up gets next to no gradient from reverse KL or JS.
# 3. Accuracy does not validate a loss: labels in the loss and an argmax in the metric hid most of these faults.
# 4. Properties find faults without training: zero at equality, never negative, gradient against its closed form, free
# logits that end at the teacher, a gradient that does not fade with $T$.
# 5. Being zero at the right place proves little.
#
# **Papers.** Gu, Dong, Wei, Huang 2023, *MiniLLM*, arXiv 2306.08543: reverse KL for language models. Agarwal and
# others 2023, *On-Policy Distillation of Language Models*, arXiv 2306.13649: the generalised JS family. Lin 1991,
# *Divergence Measures Based on the Shannon Entropy*. Zhao and others 2022, *Decoupled Knowledge Distillation*, arXiv
# 2203.08679: KL taken apart at the label, `dkd_loss`. Huang and others 2022, *Knowledge Distillation from A Stronger
# Teacher*, arXiv 2205.10536: `dist_loss`.
#
# **Next:** lesson 03 builds the fair experiment that a loss, right at last, deserves.
