# ---
# jupyter:
#   kdlab:
#     lesson: 0
#     minutes: 45
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["step-header"]
# # 00 · Start here
#
# After this lesson you can
#
# - **measure** a network four ways: size, work, time, accuracy;
# - **predict** which of the four a change will touch, and which it will not;
# - **time** two models so that the answer is about the models;
# - **say** what distillation is, what it is not, and who made the student small.
#
# **Time:** 45 minutes, and 55 more for all exercises. **You should know** Python, and in outline how a
# network is trained in PyTorch. The code is in `kdlab.measure`.
#
# > **Interview question.** "We distilled our model, and now it is ten times smaller and ten times faster." What do
# > you ask before you believe it, and what did distillation have to do with it?

# %% [markdown]
# ## The road
#
# Large networks are accurate and expensive. This course is about getting most of the accuracy for little of the
# expense, and about finding out honestly whether you did. Every number is measured in front of you; some of them will
# say "this did not help". Lessons stand in an order, and each can be taken alone. This map comes back in each of them.

# %%
import copy
import io
import subprocess
import sys
import time
import zlib
from statistics import median

import torch
from torch.testing import assert_close

from kdlab import compare, lab, measure
from kdlab.data import load_digits
from kdlab.exercises import ask, board, check, predict
from kdlab.experiments import Arm, Score
from kdlab.models import MLP, SmallCNN
from kdlab.studies.soft_labels import train_teacher
from kdlab.training import distill, evaluate, fit, predict_logits, seeded

torch.set_num_threads(1)
data = load_digits()  # handwritten digits, 8 by 8 pixels; the three parts never mix
train, validation, test = data.train, data.validation, data.test
lab.show(lab.course_map(here=0), alt=lab.course_map_alt(here=0))

# %% [markdown]
# ## How a lesson works
#
# **Shift+Enter** runs a cell and goes to the next. Run them in order, and change them as you like: this notebook is
# *your copy*, and nothing in it can break the course.
#
# - Before a result you are asked for a **guess**. Being wrong is the point: it shows where your picture is off. Code
# that would tell is folded (**•••**): it runs all the same, and a click opens it.
# - A **panel** has a slider: mouse or arrow keys, and a reset.
# - An **exercise** has a card. Answer, check, ask for a hint; the solution opens after your first attempt, and an
# empty card never gets in the way. Answers are saved outside the notebook, so closing or replacing it loses none. After
# a restart, run the first code cell again, then the card's.
#
# Here is a first card. Wrong answers are welcome: try one on purpose.

# %%
ask("first-exercise")

# %% [markdown] tags=["step-surprise"]
# ## A thousand times less work
#
# A **teacher**, a convolutional network, and a **student**, a tiny one with sixteen hidden units, learn to read the
# same thousand digits. The student does a thousandth of the teacher's multiplications. Look, and do not run ahead:

# %% tags=["nbval-ignore-output"]
teacher = train_teacher(train)
with seeded(0):
    student = MLP(in_features=64, hidden=(16,))
fit(student, train.images, train.labels, epochs=60, lr=0.004)
image = test.images[:1]  # (1, 1, 8, 8)
for name, model in {"teacher": teacher, "student": student}.items():
    numbers, work = measure.count_parameters(model), measure.count_macs(model, image)
    print(f"{name}: {numbers:7,} numbers to store, {work:9,} multiplications for one image")

# %% [markdown] tags=["step-predict"]
# **Predict.** How many points of accuracy does the student lose (ten would be: the teacher has 95 of 100 test images
# right, the student 85), and how many times faster does it answer for *one* image?

# %%
predict("00-small-student", {"points lost": None, "times faster": None})  # numbers for None

# %% tags=["nbval-ignore-output", "hide-answer"]
accuracy = {model: evaluate(model, test.images, test.labels).accuracy for model in (teacher, student)}
time_for_one = measure.latency({"teacher": teacher, "student": student}, image, rounds=300)
lost = 100 * (accuracy[teacher] - accuracy[student])
faster = 1 / time_for_one["student"].ratio
predict("00-small-student", measured={"points lost": lost, "times faster": faster})

# %% tags=["claim", "hide-answer", "fold-source"]
fewer_parameters = measure.count_parameters(teacher) / measure.count_parameters(student)
less_work = measure.count_macs(teacher, image) / measure.count_macs(student, image)
figure = lab.ratio_bars(
    {"parameters": fewer_parameters, "multiplications": less_work, "time for one image": faster},
    xlabel="teacher divided by student, log scale",
    xlim=(1, 10_000),
)
lab.show(
    figure,
    alt="How many times less the student takes than the teacher, on a log scale: more than a hundred times fewer "
    "parameters, more than a thousand times fewer multiplications, but only a few times less time for one image.",
)
print(f"parameters: {fewer_parameters:.0f} times fewer, multiplications: {less_work:.0f} times fewer")
print("fewer than 5 points of accuracy lost:", lost < 5)
print("faster on one image, but less than 50 times:", 1.5 < faster < 50)

# %% [markdown] tags=["step-idea"]
# ## The idea: four measures, two activities
#
# **Compression** is a goal: fewer bytes, less work or less time at an accuracy that is still good enough. No single
# number says whether you got there:
#
# | measure | what it is | what it does not tell |
# |---|---|---|
# | **size** | *parameters* (learned numbers); *bytes*: parameters times bytes of each, four in float32 | time |
# | **work** | *MACs*, multiply-accumulates for one image: one product, one addition | time, once more |
# | **latency** | median seconds per answer, on a named machine, for a named batch | another machine's |
# | **accuracy** | share of right answers, on images that were used for no choice | which kinds are wrong |
#
# A dense layer from $n$ to $m$ units has $nm + m$ parameters and $nm$ MACs. A convolution from $c$ to $d$ channels,
# with $k \times k$ kernels at $P$ places, has $d(ck^2 + 1)$ parameters and $P\,d\,c\,k^2$ MACs: it uses each weight
# $P$ times. With logits $z$ of shape `(N, K)` (a score for each image and class, before any softmax) and labels $y$ of
# shape `(N,)` (the bracket is 1 if what it says is true, else 0):
#
# $$\text{accuracy} = \frac{1}{N} \sum_{i=1}^{N} \big[\arg\max_k z_{ik} = y_i\big]$$
#
# Say "*four times* smaller" for old over new and "*three quarters* gone" for one minus new over old; mix them up, and
# reports turn to nonsense.
#
# **Distillation** is something else, a way to *train*: the student learns from the teacher's answers (**soft
# labels**, a probability for every class) beside or instead of the **hard labels** of the data set.
#
# ```text
# compress  network ── prune, quantize ... ──> smaller network
#
# distil    images ─┬─ teacher, frozen ── probabilities ─┐
#                   └─ student ────────── probabilities ─┴─> loss
#           the loss changes the student's weights, never its size
# ```

# %% [markdown]
# <details><summary>Words that come back in every lesson</summary>
#
# - **Logits:** a network's scores, one per class; softmax turns them into probabilities. **Temperature** divides them
# first (lesson 01).
# - **Hard label:** one class per image. **Soft label:** one probability per class, per image.
# - **Teacher:** the network whose answers are learned from; it is frozen. **Student:** the one that learns.
# - **Compression ratio:** old size over new. **Speed-up:** old time over new. **Reduction:** one minus new over old.
# **Relative increase of the error:** new share wrong over old, minus one.
# - **Latency:** seconds until one call answers; **throughput:** answers per second in large batches. A change can help
# one and not the other.
# - **Verdict:** "better", "worse" or "cannot tell", from runs with paired seeds.
# </details>

# %% [markdown] tags=["step-build"]
# ## Build it: count by hand
#
# Before you run this: which of the teacher's four layers holds most of its parameters, and which does most of its
# work? Is it the same one?


# %% tags=["hide-answer"]
def dense(n, m):
    return n * m + m, n * m  # parameters, MACs


def convolution(c, d, k, places):
    return d * (c * k * k + 1), places * d * c * k * k


student_layers = {"dense 64 to 16": dense(64, 16), "dense 16 to 10": dense(16, 10)}
teacher_layers = {
    "convolution 1 to 32": convolution(1, 32, 3, places=64),
    "convolution 32 to 64": convolution(32, 64, 3, places=64),
    "dense 1024 to 128": dense(1024, 128),
    "dense 128 to 10": dense(128, 10),
}
for layers in (student_layers, teacher_layers):
    parameters, macs = (sum(column) for column in zip(*layers.values(), strict=True))
    for name, (p, m) in layers.items():
        print(f"{name:22} {p:8,} parameters ({p / parameters:5.1%})  {m:10,} MACs ({m / macs:5.1%})")
    print(f"{'together':22} {parameters:8,} parameters           {macs:10,} MACs, {4 * parameters:,} bytes\n")
# check by property: twice as wide is twice the work; twice as many places are twice the work, and no parameter more
assert dense(64, 32)[1] == 2 * dense(64, 16)[1]
assert convolution(1, 32, 3, places=128) == (teacher_layers["convolution 1 to 32"][0], 2 * 32 * 9 * 64)

# %% [markdown]
# The bytes sit in one layer, the work in another: "make it smaller" and "make it faster" start at different ends.

# %% [markdown] tags=["step-kdlab"]
# ## The same in kdlab
#
# `kdlab.measure` counts the same on any network. Latency takes three habits: warm up, take turns, and quote the
# median of the *ratios within a round*, so that a busy machine is fair to both.


# %% tags=["claim"]
def seconds(model, images, rounds=200):
    times = []
    with torch.no_grad():
        for _ in range(rounds):
            start = time.perf_counter()
            model(images)
            times.append(time.perf_counter() - start)
    return median(times)


for model, layers in ((student, student_layers), (teacher, teacher_layers)):
    assert measure.count_parameters(model) == sum(p for p, _ in layers.values())
    assert measure.count_macs(model, image) == sum(m for _, m in layers.values())
    assert measure.model_bytes(model) == 4 * measure.count_parameters(model)
    right = predict_logits(model, test.images).argmax(dim=1) == test.labels
    assert_close(right.float().mean().item(), evaluate(model, test.images, test.labels).accuracy)
by_hand, by_kdlab = seconds(student, image), time_for_one["student"].median
print("parameters, MACs, bytes and accuracy are those counted by hand")
print("two stopwatches agree within a factor of three:", 1 / 3 < by_hand / by_kdlab < 3)

# %% [markdown] tags=["step-play"]
# ## Play: what does width buy?
#
# Train students of eight widths, three of each, on labels alone. **First a question.** Make a student eight times
# narrower: which bars grow about eightfold, and which hardly moves? How narrow can it get before accuracy gives way?
# (You are about to choose a width, so accuracies here are on *validation* images.)

# %% tags=["nbval-ignore-output"]
students, accuracies = {}, []
for width in lab.WIDTHS:
    shares = []
    for seed in range(3):
        with seeded(seed):
            students[width] = MLP(in_features=64, hidden=(width,))
        fit(students[width], train.images, train.labels, epochs=60, lr=0.004, seed=seed)
        shares.append(evaluate(students[width], validation.images, validation.labels).accuracy)
    accuracies.append(sum(shares) / len(shares))
timed = {"teacher": teacher, **students}
speedups = {}
for name, batch in {"1 image": image, "500 images": test.images}.items():
    times = measure.latency(timed, batch, rounds=50)
    speedups[name] = [1 / times[width].ratio for width in lab.WIDTHS]

# %% tags=["nbval-ignore-output"]
lab.width_explorable(
    accuracies,
    speedups,
    teacher_parameters=measure.count_parameters(teacher),
    teacher_macs=measure.count_macs(teacher, image),
    teacher_accuracy=evaluate(teacher, validation.images, validation.labels).accuracy,
)

# %% [markdown]
# <details><summary>What you should have seen</summary>
#
# Parameters, bytes and MACs follow the width. Time for one image does not: it hardly moves from one end to the other.
# Time for 500 images lies between, and gains nothing more at the narrow end, where overhead and moving the images are
# all that is left.
# Accuracy is flat at first and then falls off a cliff. Good compression stops just before the cliff, and where that
# is, only a measurement tells.
# </details>
#
# ### Why MACs are not latency
#
# A call costs a fixed **overhead** $o$ (Python, one dispatch per layer, memory) and a time $t$ for arithmetic. With $f$
# times fewer MACs the arithmetic takes *about* $t/f$: a MAC does not cost the same in every layer. The overhead stays
# as long as the number of layers does. For a student with one image nearly all is overhead; a large batch spreads it.

# %% tags=["claim"]
batches, shown = (1, 4, 16, 64, 256), {"teacher": teacher, "width 128": students[128], "width 16": students[16]}
curves = {name: [] for name in shown}
for size in batches:
    for name, result in measure.latency(shown, test.images[:size], rounds=30).items():
        curves[name].append(1e6 * result.median)
lines = {name: (batches, values) for name, values in curves.items()}
figure = lab.line_panels({"images per call": lines}, ylabel="microseconds per call", ylim=(5, 50_000), yscale="log")
figure.axes[0].set_xticks(batches, [str(size) for size in batches])
lab.show(
    figure,
    alt="Time per call over the number of images, both on log scales. The teacher's time grows with the images; the "
    "times of two students of very different width lie close together and rise far more slowly.",
)
narrow, wide = lab.WIDTHS.index(16), lab.WIDTHS.index(128)
print("from width 128 to 16, parameters: about eight times fewer; time for one image: less than halved:",
      speedups["1 image"][narrow] < 2 * speedups["1 image"][wide])  # fmt: skip
print("with 500 images width 16 gains far more than with one:", speedups["500 images"][narrow] > 3 * faster)

# %% [markdown] tags=["step-measure"]
# ## Measure: what does distillation change?
#
# Widely copied articles contradict each other. Which of these would you sign?
#
# 1. "Distillation transfers the teacher's parameters to the student."
# 2. "Distillation makes a model smaller."
# 3. "Compression is built on distillation."
# 4. "Distillation improves the model."
#
# Distil the student from the *same initial weights* as above, and, as a control, a student with the teacher's own
# architecture: a **born-again** network.

# %% tags=["claim", "hide-answer", "fold-source"]
before = {name: value.clone() for name, value in teacher.state_dict().items()}
with seeded(0):
    distilled = MLP(in_features=64, hidden=(16,))
with seeded(1):
    born_again = SmallCNN()
distill(distilled, teacher, train.images, train.labels, epochs=60, lr=0.004)
distill(born_again, teacher, train.images, train.labels, epochs=3, lr=0.002, batch_size=32)


def shapes(model):
    return {tuple(value.shape) for value in model.parameters()}


print("tensors of the teacher that would fit into the student:", shapes(teacher) & shapes(student))
print(
    "the teacher is as it was:", all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
)
print("the student's weights differ:", not torch.equal(student.layers[0].weight, distilled.layers[0].weight))
print("bytes that distillation saved:", measure.model_bytes(student) - measure.model_bytes(distilled))
print("MACs that it saved:", measure.count_macs(student, image) - measure.count_macs(distilled, image))
print("bytes that the born-again network saves:", measure.model_bytes(teacher) - measure.model_bytes(born_again))

# %% [markdown]
# Nothing was copied: of all its tensors only the last layer's ten biases would even fit. Not a byte was saved; *you*
# made the student small, when you chose its architecture. Statements one and two are false; so is three: pruning,
# low rank and quantization need no teacher. Number four is an empirical question. Ask it fairly: the same student,
# images, epochs and seeds; each arm's learning rate chosen on validation images, from equally many; test images only
# for the score. The teacher saw the same thousand labels. (`distill` takes nine tenths of its loss from the teacher's
# answers at temperature 4 and one tenth from the labels; lessons 01 and 02 say why. The teacher runs once.)

# %% tags=["nbval-ignore-output"]
teacher_logits = predict_logits(teacher, train.images)  # (1000, 10)


def run(seed, lr, soft):
    with seeded(seed):
        model = MLP(in_features=64, hidden=(16,))
    if soft:
        distill(model, teacher_logits, train.images, train.labels, epochs=60, lr=lr, seed=seed)
    else:
        fit(model, train.images, train.labels, epochs=60, lr=lr, seed=seed)
    part = {"test": test, "validation": validation}
    return Score(**{name: evaluate(model, images.images, images.labels).accuracy for name, images in part.items()})


arms = {
    "hard labels": Arm(lambda seed, lr: run(seed, lr, soft=False), student_labels=1000),
    "distilled": Arm(lambda seed, lr: run(seed, lr, soft=True), student_labels=1000, teacher_labels=1000),
}
result = compare(arms, seeds=range(5), settings=[{"lr": lr} for lr in (0.004, 0.008, 0.016, 0.032)])
result

# %% tags=["claim"]
figure = lab.compare_points(
    result.scores, ticks=result.seeds, xlabel="seed", ylabel="share of test images right", ylim=(0.9, 1)
)
lab.show(
    figure,
    alt="Test accuracy of the student for five seeds, trained on hard labels and distilled. For every seed the two "
    "points lie close together; their distances are of the size of the differences between seeds.",
)
print("same size, same work; accuracy of the distilled student:", result.verdict)

# %% [markdown]
# "Cannot tell" is a finding: *here*, with labels for all and a teacher that saw no more, any gain is too small for
# five runs (one point is five test images). Lesson 01 finds a regime where it is large.

# %% [markdown] tags=["step-false"]
# ## When is this false?
#
# "Fewer weights, so smaller and faster." Take the teacher, and set the smallest nine of ten weights in every layer to
# zero. Which of the four measures will change?

# %% tags=["claim", "hide-answer", "fold-source"]
pruned = copy.deepcopy(teacher)
with torch.no_grad():
    for weight in (p for p in pruned.parameters() if p.dim() > 1):
        weight[weight.abs() <= weight.abs().flatten().kthvalue(int(0.9 * weight.numel())).values] = 0


def saved(model):
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    return file.getvalue()


times = measure.latency({"teacher": teacher, "zeros": pruned}, image, rounds=200)
right = {model: evaluate(model, validation.images, validation.labels).accuracy for model in (teacher, pruned)}
print("same number of parameters:", measure.count_parameters(teacher) == measure.count_parameters(pruned))
print("same MACs:", measure.count_macs(teacher, image) == measure.count_macs(pruned, image))
print("same file, to the byte:", len(saved(teacher)) == len(saved(pruned)))
print("same time, within a third:", 2 / 3 < times["zeros"].ratio < 3 / 2)
zipped = {model: len(zlib.compress(saved(model))) for model in (teacher, pruned)}
print("zipped, the file is less than a quarter of the other's:", zipped[pruned] < zipped[teacher] / 4)
print("more than ten points of accuracy are gone:", right[teacher] - right[pruned] > 0.1)

# %% [markdown]
# A zero is stored and multiplied like any other number. Zipping shows that there *is* something to save; it takes
# another format, other kernels, or whole channels removed (lesson 06, which also wins the accuracy back).

# %% [markdown] tags=["step-broken"]
# ## Broken run: a network against its exact copy
#
# A plain script makes a network and an *exact copy*, times one call of each and prints the ratio. What do you expect?

# %% tags=["claim", "hide-answer", "fold-source"]
script = """
import time, torch
from torch import nn
torch.set_num_threads(1)
a = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(2048, 10))
b = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(2048, 10))
b.load_state_dict(a.state_dict())
image, times = torch.rand(1, 1, 8, 8), []
with torch.no_grad():
    for model in (a, b):
        start = time.perf_counter()
        model(image)
        times.append(time.perf_counter() - start)
print(times[0] / times[1])
"""
broken = float(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)
fair = measure.latency({"a": teacher, "b": copy.deepcopy(teacher)}, image, rounds=300)["b"].ratio
print("the script: the copy is more than twice as fast as its original:", broken > 2)
print("warm, in turns, median of ratios: the copy takes the same time within a fifth:", 0.8 < fair < 1.25)

# %% [markdown]
# **Symptom:** whatever is timed first is slow. The first call pays for memory, for threads and for choosing a kernel;
# the second finds it done. **Catch it:** time a copy of the baseline along with your models (an *A/A test*). If its
# ratio is not near one, no other ratio means anything.

# %% [markdown] tags=["step-tool"]
# ## The professional's tool
#
# PyTorch has a stopwatch that warms up and repeats by itself, `torch.utils.benchmark.Timer`, and a counter of
# operations, `FlopCounterMode` (two per MAC). And a file is worth a look: does it hold what you counted?

# %% tags=["claim"]
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

with torch.no_grad():
    with FlopCounterMode(display=False) as counter:
        teacher(image)
    timer = Timer("teacher(image)", globals={"teacher": teacher, "image": image}, num_threads=1)
    theirs = timer.blocked_autorange(min_run_time=0.3).median
ours, header = time_for_one["teacher"].median, len(saved(teacher)) - measure.model_bytes(teacher)
print("two operations per MAC:", counter.get_total_flops() == 2 * measure.count_macs(teacher, image))
print("their stopwatch and ours agree within a factor of three:", 1 / 3 < theirs / ours < 3)
print("the file is the weights, and less than five kilobytes of names and shapes:", 0 < header < 5000)

# %% [markdown] tags=["step-exercises"]
# ## Exercises
#
# Each card says how hard it is, how much it matters and how long it takes. Where one asks for code, write it in the
# cell below and run that cell. The last three are open questions from interviews: answer in your own words first, then
# score yourself. They look ahead to the whole course: write what you know today, and come back after lesson 08. The
# very last is at the heart of the question from the top of this lesson.

# %%
ask("compression-four-numbers")

# %%
ask("born-again-network")

# %%
ask("what-shrinks-the-file")

# %%
ask("cost-of-a-teacher")

# %%
ask("overhead-limits-speed-up")

# %%
ask("frozen-teacher-size")

# %%
ask("fair-latency-ratio")


# %%
def speed_up(times_a, times_b):
    """Seconds per round of a and of b -> how many times faster b is: [4, 4, 4] and [1, 1, 1] give 4."""
    # your code here


check("fair-latency-ratio", speed_up)

# %%
ask("name-the-techniques")

# %%
ask("why-distil")

# %%
ask("distillation-or-compression")

# %%
board()

# %% [markdown] tags=["step-takeaway"]
# ## Take away
#
# 1. Four measures: size, work, latency, accuracy. None stands for another; bytes and MACs often sit in different
# layers.
# 2. MACs are not latency. Overhead sets a floor that no narrower student gets under; fewer layers or larger batches do.
# 3. Distillation is a way to train. It copies no weights and saves no bytes; the student's architecture does.
# 4. Zeros are not savings, until a format, a kernel or a removed channel makes them so.
# 5. Warm up, take turns, run an A/A test; and accept "cannot tell".
#
# **Papers.** Bucilă, Caruana, Niculescu-Mizil 2006, *Model Compression* (KDD): an ensemble labels data for one small
# network. Ba, Caruana 2014, *Do Deep Nets Really Need to be Deep?*, arXiv 1312.6184: shallow students of deep
# teachers. Hinton, Vinyals, Dean 2015, *Distilling the Knowledge in a Neural Network*, arXiv 1503.02531: the name and
# the temperature. Furlanello, Lipton, Tschannen, Itti, Anandkumar 2018, *Born-Again Neural Networks*, arXiv
# 1805.04770: students as large as their teachers. Ma, Zhang, Zheng, Sun 2018, *ShuffleNet V2*, arXiv 1807.11164: judge
# by measured speed, not by operations.
#
# **Next:** lesson 01 opens a teacher's answer and shows what it holds that a label does not.
