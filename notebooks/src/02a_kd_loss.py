# ---
# jupyter:
#   kdlab:
#     lesson: 2
#     minutes: 75
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["step-header"]
# # 02a · The distillation loss, derived
#
# After this lesson you can
#
# - **derive** the loss from cross-entropy, and its gradient on paper, line by line, from nothing but softmax;
# - **check** any such line twice, with autograd and with finite differences;
# - **justify** the factor $T^2$, and say where it is exact and where it is only roughly right;
# - **take** both limits: large $T$ compares logits, small $T$ compares winners;
# - **say** what $\alpha$ trades, and which mistakes Adam hides.
#
# **Time:** 75 minutes. **You should know** softmax and the chain rule; lesson 01 is where $T$ and soft targets come
# from. The code is in `kdlab.losses`.
#
# > **Interview question.** "Write down the distillation loss. Differentiate it with respect to the student's logits.
# > Where does $T^2$ come from, and what happens if you forget it?"

# %%
import torch
import torch.nn.functional as F
from IPython.display import display
from torch.testing import assert_close

from kdlab import kd_loss, lab, soft_targets
from kdlab.data import load_digits
from kdlab.exercises import ask, board, check, predict
from kdlab.loss_properties import examine
from kdlab.losses import mse_logit_loss
from kdlab.models import MLP
from kdlab.studies import load_results, soft_labels, temperature_squared
from kdlab.training import fit, predict_logits, seeded

torch.set_num_threads(1)
train = load_digits().train
lab.show(lab.course_map(here=2), alt=lab.course_map_alt(here=2))

# %% [markdown] tags=["step-surprise"]
# ## Nine tenths of the loss
#
# You distil with `alpha=0.9`: nine tenths of the loss for the teacher, one tenth for the label. So far this is one
# line of code. But a student never sees its loss; it sees the *gradient*. How much of that comes from the teacher?
#
# Take a student that has seen the training images once. Compute both parts of the gradient with respect to its logits
# with autograd, and compare their norms: the teacher's share is soft / (soft + hard). Do it for several $T$, with the
# factor $T^2$ in front of the soft term, and without it, as in TextBrewer, and for years in Keras's example.

# %%
teacher_logits = predict_logits(soft_labels.train_teacher(train), train.images)  # (1000, 10)
with seeded(0):
    student = MLP(in_features=64, hidden=(32,))
fit(student, train.images, train.labels, epochs=1, lr=5e-3)
student_logits = predict_logits(student, train.images)  # (1000, 10)


def gradient(loss, logits):
    leaf = logits.clone().requires_grad_()
    return torch.autograd.grad(loss(leaf), leaf)[0]


def soft_term(z, T, factor=1.0):
    log_p, log_q = (teacher_logits / T).log_softmax(dim=1), (z / T).log_softmax(dim=1)
    return 0.9 * factor * F.kl_div(log_q, log_p, log_target=True, reduction="batchmean")


def teachers_share(T, squared):
    soft = gradient(lambda z: soft_term(z, T, T**2 if squared else 1.0), student_logits).norm()
    hard = gradient(lambda z: 0.1 * F.cross_entropy(z, train.labels), student_logits).norm()
    return float(soft / (soft + hard))


# %% [markdown] tags=["step-predict"]
# **Predict** the teacher's share of the gradient, at $T = 16$, with the factor and without.

# %%
predict("02-teachers-share", {"with T squared": None, "without": None})  # shares from 0 to 1

# %% tags=["claim", "hide-answer", "fold-source"]
grid = [1, 2, 4, 8, 16, 32]
share = {squared: {T: teachers_share(T, squared) for T in grid} for squared in (True, False)}
predict("02-teachers-share", measured={"with T squared": share[True][16], "without": share[False][16]})
lines = {"with T squared": (grid, [*share[True].values()]), "without": (grid, [*share[False].values()])}
figure = lab.line_panels({"temperature T": lines}, ylabel="teacher's share of the gradient", ylim=(0, 1), xticks=grid)
lab.show(
    figure,
    alt="The teacher's share of the gradient over T at alpha 0.9. With the factor T squared it stays near one; without "
    "it falls from nine tenths at T = 1 towards zero.",
)
print("at T = 1 the share is alpha:", abs(share[True][1] - 0.9) < 0.02)
print("with the factor it is above alpha at every larger T:", all(share[True][T] > 0.92 for T in grid[1:]))
print("without it, at T = 16, less than a quarter:", share[False][16] < 0.25)

# %% [markdown] tags=["step-idea"]
# ## From a label to a distribution
#
# Without the factor the label decides, whatever $\alpha$ says. (At $T = 1$ the share is $\alpha$ because this teacher
# is as sure as the labels, so both gradients are alike.) Why? It follows from one formula. $z$ are the student's
# logits for one image, shape `(K,)`, $q = \mathrm{softmax}(z)$. **Cross-entropy** with the label $y$ is $-\ln q_y$.
# Write the label as a distribution, $y_k = 1$ at the label and $0$ elsewhere, and the same number is
#
# $$\mathrm{CE}(y, q) = -\sum_{k=1}^{K} y_k \ln q_k .$$
#
# Nothing forces $y$ to be one-hot. Put the teacher's soft targets $p$ in its place, and you have the first distillation
# loss: $\mathrm{CE}(p, q) = -\sum_k p_k \ln q_k$. Its smallest value, though, is not zero. Add and subtract $\ln p_k$:
#
# $$\mathrm{CE}(p, q) = \underbrace{\sum_k p_k \ln\frac{p_k}{q_k}}_{\mathrm{KL}(p\,\|\,q)}
# \; \underbrace{-\sum_k p_k \ln p_k}_{H(p)} .$$
#
# The last term is the **teacher's entropy**. The student has no part in it: soft
# cross-entropy and KL divergence have *the same gradient*. And KL is never negative: from $\ln x \le x - 1$ follows
# $-\mathrm{KL} = \sum_k p_k \ln\frac{q_k}{p_k} \le \sum_k (q_k - p_k) = 0$, with equality only at $q = p$. Walk a
# student from uniform logits to the teacher's, and beyond:

# %%
p = soft_targets(teacher_logits[0], 4.0)
entropy = float(-(p * p.log()).sum())
walk = torch.linspace(0, 2, 41)
soft_ce = [float(F.cross_entropy(step * teacher_logits[0] / 4, p)) for step in walk]  # takes probabilities, too
kl = [float(F.kl_div((step * teacher_logits[0] / 4).log_softmax(0), p, reduction="sum")) for step in walk]
assert_close(torch.tensor(soft_ce) - torch.tensor(kl), torch.full((41,), entropy))
curves = {"CE(p, q)": (walk, soft_ce), "KL(p || q)": (walk, kl), "H(p)": (walk, [entropy] * 41)}
axis = "student's logits, as a multiple of the teacher's"
figure = lab.line_panels({axis: curves}, ylabel="nats", ylim=(0, 2.5), xscale="linear")
lab.show(
    figure,
    alt="Soft cross-entropy and KL divergence while a student moves to the teacher and beyond: two parallel curves "
    "with their minimum at the teacher. KL is zero there, cross-entropy is the teacher's entropy.",
)
print("the two differ by H(p) everywhere:", round(entropy, 4), "nats")

# %% [markdown] tags=["step-build"]
# ## Build the gradient, one line at a time
#
# Take a pencil. Each line is checked twice below it: by autograd, and by **finite differences**, which know no
# calculus at all: move one logit a little up, a little down, and divide.


# %%
def slope(f, z, h=1e-5):
    """Derivative of f with respect to each logit by central differences: one row per logit."""
    return torch.stack([(f(z + e) - f(z - e)) / (2 * h) for e in h * torch.eye(len(z), dtype=z.dtype)])


z = torch.tensor([2.0, 1.5, 0.1], dtype=torch.float64)  # the student's logits
z_t = torch.tensor([3.0, 1.0, 0.2], dtype=torch.float64)  # the teacher's
p, q = z_t.softmax(0), z.softmax(0)
print("teacher p", [round(v, 3) for v in p.tolist()], " student q", [round(v, 3) for v in q.tolist()])

# %% [markdown]
# **Line 1: one log-probability.** $\ln q_k = z_k - \ln\sum_i e^{z_i}$. The first part depends on $z_j$ only if $j =
# k$. The second: $\frac{\partial}{\partial z_j} \ln\sum_i e^{z_i} = \frac{e^{z_j}}{\sum_i e^{z_i}} = q_j$. So
#
# $$\frac{\partial \ln q_k}{\partial z_j} = \delta_{jk} - q_j ,$$
#
# with $\delta_{jk} = 1$ if $j = k$, and $0$ otherwise.

# %%
line_1 = torch.eye(3, dtype=torch.float64) - q[:, None]  # row j, column k
assert_close(slope(lambda z: z.log_softmax(0), z), line_1)
assert_close(torch.autograd.functional.jacobian(lambda z: z.log_softmax(0), z).T, line_1)
print("line 1 holds:", [[round(v, 3) for v in row] for row in line_1.tolist()])

# %% [markdown]
# **Line 2: soft cross-entropy.** Sum line 1 over $k$ with weights $-p_k$. The $\delta$ picks out $-p_j$; the rest is
# $q_j \sum_k p_k$, and probabilities sum to one:
#
# $$\frac{\partial\, \mathrm{CE}(p, q)}{\partial z_j} = -\sum_k p_k (\delta_{jk} - q_j) = q_j - p_j .$$
#
# Student minus teacher. With a one-hot label in place of $p$ it is the familiar $q - y$; and since $H(p)$ is constant,
# it is the gradient of KL as well.

# %%
for name, loss in {
    "CE": lambda z: -(p * z.log_softmax(0)).sum(),
    "KL": lambda z: (p * (p.log() - z.log_softmax(0))).sum(),
}.items():
    assert_close(slope(loss, z), q - p)
    assert_close(gradient(loss, z), q - p)
    print(f"line 2 holds for {name}:", [round(v, 3) for v in gradient(loss, z).tolist()])

# %% [markdown]
# **Line 3: temperature.** Now $q^T = \mathrm{softmax}(z/T)$ and $p^T$ likewise. The loss sees $z_j$ through $u_j =
# z_j/T$; line 2 holds for $u$, and the chain rule multiplies by $du_j/dz_j = 1/T$:
#
# $$\frac{\partial\, \mathrm{KL}(p^T\|q^T)}{\partial z_j} = \frac{1}{T}\,(q^T_j - p^T_j) .$$
#
# One factor $1/T$ is plain to see. A second one hides in the bracket: as $T$ grows both distributions approach the
# uniform one, and so each other.
#
# **Line 4: the factor.** Multiplied by $T^2$, it becomes $T\,(q^T_j - p^T_j)$.


# %%
def kl_at(z, T, factor=1.0):
    p, log_q = (z_t / T).softmax(0), (z / T).log_softmax(0)
    return factor * (p * (p.log() - log_q)).sum()


for T in (0.5, 2.0, 8.0):
    difference = (z / T).softmax(0) - (z_t / T).softmax(0)
    assert_close(slope(lambda z, T=T: kl_at(z, T), z), difference / T)
    assert_close(gradient(lambda z, T=T: kl_at(z, T, factor=T**2), z), T * difference)
    size = difference.norm()
    print(f"T = {T:3}: bracket {size:.4f}  line 3 {size / T:.4f}  line 4 {T * size:.4f}")

# %% [markdown]
# **Line 5: mix and average.** $\alpha$ weighs the soft term, $1 - \alpha$ the hard one, which is always taken at $T =
# 1$: in use, nobody divides the student's logits. The mean over $B$ images divides each row by $B$. For row $i$:
#
# $$L = (1-\alpha)\,\mathrm{CE}(y, q^1) + \alpha T^2\,\mathrm{KL}(p^T\|q^T) \;\Rightarrow\;
# \frac{\partial L}{\partial z_{ij}} = \frac{\alpha T\,(q^T_{ij} - p^T_{ij}) + (1-\alpha)(q^1_{ij} - y_{ij})}{B} .$$
#
# Read it. A **negative** entry means: this logit will be pushed *up*. Each row sums to zero, since
# both brackets do: what one class gains, others lose. Two distributions are at most $\sqrt 2$
# apart, so no row is longer than $\sqrt 2\,(\alpha T + 1 - \alpha)/B$, however wrong the student is.


# %%
def my_kd_loss(z_s, z_t, y, T, alpha):
    log_p, log_q = (z_t / T).log_softmax(dim=1), (z_s / T).log_softmax(dim=1)  # (B, K)
    kl = (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()  # sum over classes, mean over images
    return (1 - alpha) * F.cross_entropy(z_s, y) + alpha * T**2 * kl


def by_hand(z_s, z_t, y, T, alpha):
    soft, hard = soft_targets(z_s, T) - soft_targets(z_t, T), soft_targets(z_s) - F.one_hot(y, z_s.shape[1])
    return (alpha * T * soft + (1 - alpha) * hard) / len(z_s)


T, alpha, y = 4.0, 0.7, train.labels
z_s, z_T = student_logits.double(), teacher_logits.double()
assert_close(gradient(lambda z: my_kd_loss(z, z_T, y, T, alpha), z_s), by_hand(z_s, z_T, y, T, alpha))
print("your five lines are the gradient of 1000 rows at once")


# %% tags=["step-kdlab"]
def mine(z_s, z_t, y=None, *, temperature, alpha):
    y = torch.zeros(len(z_s), dtype=torch.long) if y is None else y  # any label will do: only with alpha = 1
    return my_kd_loss(z_s, z_t, y, temperature, alpha)


assert_close(mine(z_s, z_T, y, temperature=T, alpha=alpha), kd_loss(z_s, z_T, y, temperature=T, alpha=alpha))
print("the same value:", f"{kd_loss(z_s, z_T, y, temperature=T, alpha=alpha):.4f}")
print("kd_loss:", examine(kd_loss))
print("yours:", examine(mine))

# %% [markdown]
# `examine` asks a loss for every property that a right one has. Yours has the formula right; what is left is the
# difference between a formula and a function: other shapes, half precision, a teacher that must not learn, input that
# makes no sense.

# %% [markdown] tags=["step-play"]
# ## Play
#
# **First a question.** In the case "sure and wrong", switch the factor $T^2$ off. From which $T$ on does the label
# outweigh the teacher? And in "teacher wrong": which classes does one part push up and the other down?

# %% tags=["nbval-ignore-output"]
cases = {
    "undecided": ([0.5, 0.2, 0.0, 0.1, -0.2], [6.0, 3.0, 1.0, -1.0, -2.0], 0),
    "sure and wrong": ([0.0, 1.0, 5.0, -1.0, -1.0], [6.0, 3.0, 1.0, -1.0, -2.0], 0),
    "almost there": ([5.0, 3.0, 0.5, -1.0, -1.5], [6.0, 3.0, 1.0, -1.0, -2.0], 0),
    "teacher wrong": ([1.0, 1.5, 0.0, 0.5, 0.0], [2.0, 5.0, 1.0, 0.0, -1.0], 0),
}
rows_s, rows_t, labels = (list(column) for column in zip(*cases.values(), strict=True))
lab.loss_explorable(torch.tensor(rows_s), torch.tensor(rows_t), labels, names=list(cases), id="loss")

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# Without the factor the label outweighs the teacher from $T = 2$ on; with it, never. In "teacher wrong" at $T = 4$ the
# parts pull in opposite directions on the label's class and on the teacher's favourite; $\alpha$ settles it. At $T =
# 20$ every class gets its share, also those that nobody believes in.
# </details>
#
# ## Why T squared, and where it is only roughly right
#
# For large $T$ exponents are small and $e^x \approx 1 + x$. With the mean logit $\bar z$, $\sum_i e^{z_i/T} \approx
# K(1 + \bar z/T)$, so $q^T_j \approx \frac{1}{K}\,\frac{1 + z_j/T}{1 + \bar z/T} \approx \frac{1}{K}\big(1 +
# \frac{z_j - \bar z}{T}\big)$, for the teacher likewise, and
#
# $$T\,(q^T_j - p^T_j) \;\longrightarrow\; \frac{(z_j - \bar z) - (z^t_j - \bar z^t)}{K} \quad (T \to \infty).$$
#
# $T$ is gone: the two factors $1/T$ are what $T^2$ pays for. With $d$ for the difference of the centred logits, the
# limit is $d_j/K$, the gradient of $\frac{1}{2K}\sum_k d_k^2$ (`mse_logit_loss`): with a large $T$, distillation *is*
# **logit matching**. How large? Below, on 1000 images,
# first the norm of the gradient, then its direction: the cosine with that limit, and with the hard gradient $q^1 - y$.

# %% tags=["claim"]
wide = [2**e for e in range(9)]  # 1 to 256
scaled = {T: gradient(lambda z, T=T: kd_loss(z, z_T, temperature=T, alpha=1.0), z_s) for T in wide}
limit = gradient(lambda z: mse_logit_loss(z, z_T), z_s)
relative = {"with T squared": (wide, [float(scaled[T].norm() / limit.norm()) for T in wide])}
relative["without"] = (wide, [float(scaled[T].norm() / T**2 / limit.norm()) for T in wide])
figure = lab.line_panels(
    {"temperature T": relative}, ylabel="gradient norm / that of the limit", ylim=(1e-6, 10), yscale="log", xticks=wide
)
lab.show(
    figure,
    alt="Gradient norm over T on logarithmic axes. Without the factor it falls by more than four orders of magnitude; "
    "with it, it rises, overshoots and settles at the limit.",
)
with_factor = dict(zip(*relative["with T squared"], strict=True))
print("from T = 64 on within a tenth of the limit:", all(abs(with_factor[T] - 1) < 0.1 for T in wide if T >= 64))
print("below, the factor is a rule of thumb; norms over that of the limit:")
print({T: round(with_factor[T], 2) for T in wide if T < 64})

# %% tags=["claim"]
hard = soft_targets(z_s) - F.one_hot(y, 10)


def cosine(a, b):
    return float(F.cosine_similarity(a.flatten(), b.flatten(), dim=0))


curves = {
    "with logit matching": (wide, [cosine(scaled[T], limit) for T in wide]),
    "with the hard gradient": (wide, [cosine(scaled[T], hard) for T in wide]),
}
figure = lab.line_panels({"temperature T": curves}, ylabel="cosine of the soft gradient", ylim=(0, 1), xticks=wide)
lab.show(
    figure,
    alt="Cosine of the soft gradient over T. With logit matching it rises to one; with the hard gradient it starts "
    "near one and falls.",
)
print("at T = 4 it is not logit matching yet (cosine below 0.9):", curves["with logit matching"][1][2] < 0.9)
print("at T = 256 it is (above 0.99):", curves["with logit matching"][1][-1] > 0.99)
print(
    "the larger T, the less it agrees with the label:",
    curves["with the hard gradient"][1][0] > curves["with the hard gradient"][1][-1],
)

# %% [markdown]
# **The other limit.** As $T \to 0$ the targets become one-hot at the teacher's favourite class, call it $a$. Then
# $T\,\mathrm{KL} = T \ln\sum_i e^{z_i/T} - z_a \to \max_i z_i - z_a$: by how much the student's winner beats the
# class that the teacher would have chosen. No label, no confidence, winners only. (With $T^2$ in place of $T$ it
# vanishes; there the factor does harm.)

# %%
for T in (1.0, 0.3, 0.1, 0.03, 0.01):
    student_row, teacher_row = torch.tensor([[1.0, 2.5, 0.0]]).double(), torch.tensor([[3.0, 1.0, 0.2]]).double()
    value = kd_loss(student_row, teacher_row, temperature=T, alpha=1.0) / T  # kd_loss has T squared: left is T KL
    print(f"T = {T:<4}  T KL = {value:.4f}   max z - z[a] = {student_row.max() - student_row[0, 0]:.1f}")

# %% [markdown]
# ## What alpha trades, and what Adam hides
#
# At $T = 1$ the two terms are one: $\alpha\,\mathrm{KL}(p\|q) + (1-\alpha)\,\mathrm{CE}(y,q)$ has the gradient $q -
# [\alpha p + (1-\alpha) y]$. You train on *a mixture of teacher and label*, as if it were one soft label. At any
# other $T$ no such mixture exists, for the terms look at different distributions.
#
# A **constant factor on the whole loss** is a learning rate for SGD, and nothing for Adam, which divides each
# gradient by its own size. That is why wrong constants survive for years. A factor on *one of two terms* moves the
# balance, and Adam does not restore it.

# %% tags=["claim"]
mixture = 0.7 * soft_targets(z_T) + 0.3 * F.one_hot(y, 10)
assert_close(by_hand(z_s, z_T, y, 1.0, 0.7), (soft_targets(z_s) - mixture) / len(z_s))


def trained(optimizer, factor_all=1.0, factor_soft=1.0, steps=200):
    with seeded(0):
        student = MLP(in_features=64, hidden=(32,))
    update = optimizer(student.parameters(), lr=3e-3)
    for _ in range(steps):
        z = student(train.images)
        loss = factor_all * (factor_soft * soft_term(z, 4.0, 16.0) + 0.1 * F.cross_entropy(z, y))
        update.zero_grad()
        loss.backward()
        update.step()
    return student(train.images).detach()


for optimizer in (torch.optim.SGD, torch.optim.Adam):
    plain = trained(optimizer)
    for name, factors in {"whole loss / 16": {"factor_all": 1 / 16}, "soft term / 16": {"factor_soft": 1 / 16}}.items():
        moved = float((trained(optimizer, **factors) - plain).norm() / plain.norm())
        print(f"{optimizer.__name__:4}  {name:15}  logits move by {moved:.1f} of their norm; over 0.01: {moved > 0.01}")

# %% [markdown] tags=["step-measure"]
# ## Measure: what does the forgotten factor cost?
#
# Five labels per class, and a teacher that saw all thousand: there, lesson 01 found a gain, so there is something to
# lose. Again `alpha=0.9`. Three arms: the loss with its factor, without it, and the labels alone; each tuned over the
# same eight learning rates on validation images, then ten paired seeds
# (`benchmarks/temperature_squared_study.py`). At $T = 8$ the forgotten factor is 64, at $T = 32$ it is 1024. A run
# takes 900 steps; a short one 50. How many points of test accuracy does forgetting the factor cost?

# %%
predict("02-forgotten-factor", {"T = 8": None, "T = 32": None, "T = 32, a short run": None})  # points lost

# %% tags=["claim", "hide-answer"]
study, record = load_results("temperature_squared")
print(f"the file: {record['date']}, torch {record['versions']['torch']}, {record['command']}")
lost = {case: study[case].contrasts["without"] for case in ("T = 8", "T = 32", "T = 32, a short run")}
for case, contrast in lost.items():
    display(study[case])
    low, high = (100 * bound for bound in contrast.interval)
    print(f"{case}: without the factor {contrast.verdict}, {low:+.1f} to {high:+.1f} points")
predict("02-forgotten-factor", measured={case: round(-100 * c.difference, 1) for case, c in lost.items()})

# %% [markdown]
# A factor of a thousand forgotten, and with enough steps no verdict; the intervals say how much may still be lost.
# Look at the gradient again, while students train without the factor at $T = 32$:

# %%
chosen = study["T = 32"].chosen
teacher = soft_labels.train_teacher(train)


def shares(seed, checkpoints, sees):
    """The teacher's share of the gradient as one student trains without the factor."""
    found = []
    z_t = predict_logits(teacher, sees.images)
    with seeded(seed):
        student = MLP(in_features=64, hidden=(32,))
    optimizer = torch.optim.Adam(student.parameters(), lr=chosen["without"]["lr"])
    for step in range(1, checkpoints[-1] + 1):
        z = student(sees.images)
        if step in checkpoints:
            soft = 0.9 / 32 * (soft_targets(z.detach(), 32.0) - soft_targets(z_t, 32.0))  # line 3
            hard = 0.1 * (soft_targets(z.detach()) - F.one_hot(sees.labels, 10))
            found.append(float(soft.norm() / (soft.norm() + hard.norm())))
        kl = kd_loss(z, z_t, temperature=32.0, alpha=1.0) / 32**2
        optimizer.zero_grad()
        (0.9 * kl + 0.1 * F.cross_entropy(z, sees.labels)).backward()
        optimizer.step()
    return found


# %% tags=["claim"]
steps = [1, 3, 10, 30, 100, 300, 900]
courses = torch.tensor([shares(seed, steps, train.subset(5, seed)) for seed in range(5)])  # (seeds, checkpoints)
many = torch.tensor([shares(seed, steps, train) for seed in range(5)])
lines = {"fifty images": (steps, courses.mean(dim=0)), "all thousand": (steps, many.mean(dim=0))}
figure = lab.line_panels({"steps": lines}, ylabel="teacher's share of the gradient", ylim=(0, 1), xticks=steps)
lab.show(
    figure,
    alt="The teacher's share of the gradient over training steps, without the factor, mean of five students: nearly "
    "nothing in the beginning; in the end most of it with fifty images, much less with all thousand.",
)
print("in all five: under a tenth at step 10", bool((courses[:, 2] < 0.1).all()), end=", ")
print("over a half at step 900", bool((courses[:, -1] > 0.5).all()))
print("with all thousand images it stays under a half:", bool((many[:, -1] < 0.5).all()))
live = temperature_squared.arms("T = 32", settings=chosen)["without"].run(0, **chosen["without"])
gap = abs(live.test - study["T = 32"].scores["without"][0])
print("the file's first run without the factor, repeated here, agrees within 2 points:", gap < 0.02)

# %% [markdown]
# First the fifty labels are learnt by heart. Their gradient vanishes; the teacher's whisper is what is left, and Adam
# turns a whisper into full steps. So here a forgotten $T^2$ makes the teacher heard *late*: you pay in patience, and
# where patience is short, in points. Labels that are many, or noisy, never fall silent: the whisper drowns longer.

# %% [markdown] tags=["step-false"]
# ## When is this false?
#
# Take the labels away: $\alpha = 1$. Then even 1024 is a constant factor on the *whole* loss, and you know what Adam
# does with those.

# %% tags=["claim"]
alone = study["T = 32, teacher alone"]
display(alone)
print("teacher alone, without the factor:", alone.contrasts["without"].verdict)
low, high = alone.contrasts["without"].interval
print("the interval lies within a point of zero:", max(-low, high) < 0.01)

# %% [markdown]
# So "always multiply by $T^2$" is advice for losses with *two* terms and an $\alpha$ that is meant to keep its
# meaning while you search for $T$. With $\alpha' = \alpha T^2 / (\alpha T^2 + 1 - \alpha)$, the loss without the
# factor is the one with it, but for a constant: if you tune $\alpha$ anew for every $T$, the factor is a change of
# units.

# %% [markdown] tags=["step-broken"]
# ## Broken run: the mean that divides too much
#
# `F.kl_div` has `reduction="mean"` by default, which divides by $B \cdot K$: every number in the table, not every
# image. The soft term is then $K$ times too small: ten times on digits, fifty thousand times for a language model.
# Nothing crashes; torch warns. Lesson 02b measures what accuracy says. What does a property say?

# %% tags=["claim"]
import warnings


def with_mean(z_s, z_t, y=None, *, temperature, alpha):
    log_p, log_q = (z_t.detach() / temperature).log_softmax(-1), (z_s / temperature).log_softmax(-1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "reduction: 'mean' divides the total loss by both the batch size and ..."
        kl = F.kl_div(log_q, log_p, log_target=True, reduction="mean")
    return alpha * temperature**2 * kl + (0 if alpha == 1 else (1 - alpha) * F.cross_entropy(z_s, y))


right, wrong = (f(z_s, z_T, y, temperature=4.0, alpha=1.0) for f in (kd_loss, with_mean))
print(f"right / wrong = {right / wrong:.1f}, the number of classes")
names = ["zero_when_logits_agree", "gradient_does_not_fade_with_temperature", "equals_the_kl_of_torch_distributions"]
print(examine(with_mean, names))

# %% [markdown]
# **Symptom:** none in the curve. **Catch it:** compare one number with `torch.distributions.kl_divergence`. Two of
# the three properties above hold: being zero at the right place proves little.

# %% [markdown] tags=["step-tool"]
# ## The professional's tool
#
# Professionals write the loss in these few lines, too; TRL adds chunking for large vocabularies (lesson 11). For
# *gradients* the tool is `torch.autograd.gradcheck`: your finite differences for any function, in double precision.
# Make it a test beside every loss.

# %%
leaf = z_s[:4].clone().requires_grad_()
options = {"temperature": 3.0, "alpha": 0.5}
print("gradcheck:", torch.autograd.gradcheck(lambda z: kd_loss(z, z_T[:4], y[:4], **options), (leaf,)))
print(
    "second derivatives, too:", torch.autograd.gradgradcheck(lambda z: kd_loss(z, z_T[:4], y[:4], **options), (leaf,))
)
categorical = torch.distributions.Categorical
exact = torch.distributions.kl_divergence(categorical(logits=z_T / 4), categorical(logits=z_s / 4)).mean()
assert_close(kd_loss(z_s, z_T, temperature=4.0, alpha=1.0), 16 * exact)
print("kd_loss is T squared times torch.distributions.kl_divergence")

# %% [markdown] tags=["step-exercises"]
# ## Exercises
#
# With pencil first. The gradient is worth deriving once more without looking; interviewers ask for it. The last card
# is the question from the top.

# %%
ask("gradient-of-the-soft-term")

# %%
ask("kd-loss-of-one-row")

# %%
ask("t-squared-forgotten")

# %%
ask("write-kd-loss")


# %%
def kd_loss(student_logits, teacher_logits, labels, temperature, alpha):
    """Logits [N, K] twice, class indices [N] -> a scalar tensor; alpha weighs the soft term."""
    # your code here


check("write-kd-loss", kd_loss)

# %%
ask("what-is-the-distillation-loss")

# %% [markdown]
# What you have done, what was hard, and what to look at again:

# %%
board()

# %% [markdown] tags=["step-takeaway"]
# ## Take away
#
# 1. KL is soft cross-entropy minus the teacher's entropy, a constant: same gradient, honest zero.
# 2. The gradient is student minus teacher: $[\alpha T (q^T - p^T) + (1-\alpha)(q^1 - y)]/B$.
# 3. $T^2$ pays for two factors $1/T$: one from the chain rule, one because both distributions flatten. Exact in the
# limit only.
# 4. Large $T$ matches centred logits; small $T$ matches winners.
# 5. A constant on the whole loss is invisible to Adam; a constant on one term is a different loss.
#
# **Papers.** Hinton, Vinyals, Dean 2015, *Distilling the Knowledge in a Neural Network*, arXiv 1503.02531: its second
# section has the limit of large $T$. Ba, Caruana 2014, *Do Deep Nets Really Need to be Deep?*, arXiv 1312.6184: logit
# matching. Kim, Oh, Kim, Cho, Yun 2021, *Comparing Kullback-Leibler Divergence and Mean Squared Error Loss in
# Knowledge Distillation*, arXiv 2105.08919: the two compared as $T$ moves. Kingma, Ba 2015, *Adam*, arXiv 1412.6980:
# why a rescaled gradient changes nothing.
#
# **Next:** lesson 02b turns the KL divergence around, meets its relatives, and hunts nine bugs.
