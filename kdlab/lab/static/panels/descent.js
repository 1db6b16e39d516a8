/* The descent panel: where a student that is nothing but free logits ends when it goes down a loss.
 * explorables.js says how this file gets into a page; the twin is kdlab/lab/descent.py. */

/** From the gradient by probabilities to the gradient by what their softmax got. */
function throughSoftmax(q, gradient) {
  const mean = dot(q, gradient);
  return q.map((share, k) => share * (gradient[k] - mean));
}

const less = (a, b) => a.map((value, k) => value - b[k]);
const times = (factor, values) => values.map((value) => factor * value);
const centred = (values) => times(1, values).map((value, _, all) => value - all.reduce((a, b) => a + b, 0) / all.length);

/**
 * Soft terms to go down: (z, teacher {logits, logP, p}, T) to a value and its gradient by z. Twins in descent_losses.py.
 * The last five are faulty, and meant to be.
 */
const SOFT_TERMS = {
  kd(z, { logP, p }, T) {
    const logQ = logSoftmax(times(1 / T, z));
    return { value: T * T * dot(p, less(logP, logQ)), gradient: times(T, less(logQ.map(Math.exp), p)) };
  },
  reverse(z, { logP }, T) {
    const logQ = logSoftmax(times(1 / T, z));
    const q = logQ.map(Math.exp);
    const ratio = less(logQ, logP);
    return { value: T * T * dot(q, ratio), gradient: times(T, throughSoftmax(q, ratio)) };
  },
  js(z, { logP, p }, T) {
    const logQ = logSoftmax(times(1 / T, z));
    const q = logQ.map(Math.exp);
    const logM = q.map((_, k) => { // ln of the mean, from logarithms, so that nothing underflows
      const [high, low] = logQ[k] > logP[k] ? [logQ[k], logP[k]] : [logP[k], logQ[k]];
      return high + Math.log1p(Math.exp(low - high)) - Math.LN2;
    });
    const ratio = less(logQ, logM);
    return { value: T * T * (dot(p, less(logP, logM)) + dot(q, ratio)) / 2, gradient: times(T / 2, throughSoftmax(q, ratio)) };
  },
  mse(z, { logits }) {
    const gap = less(centred(z), centred(logits));
    return { value: dot(gap, gap) / (2 * z.length), gradient: times(1 / z.length, gap) };
  },
  no_log(z, { logP, p }, T) {
    const q = softmax(times(1 / T, z));
    return { value: T * T * dot(p, less(logP, q)), gradient: times(T, throughSoftmax(q, times(-1, p))) };
  },
  swapped_no_log(z, { p }, T) {
    const logQ = logSoftmax(times(1 / T, z));
    const q = logQ.map(Math.exp);
    const gap = less(logQ, p);
    return { value: T * T * dot(q, gap), gradient: times(T, throughSoftmax(q, gap)) };
  },
  minus_sign(z, teacher, T) {
    const { value, gradient } = SOFT_TERMS.reverse(z, teacher, T);
    return { value: -value, gradient: times(-1, gradient) };
  },
  no_teacher(z) {
    const exponentials = z.map(Math.exp);
    const missing = z.length - exponentials.reduce((sum, value) => sum + value, 0);
    return { value: z.length * missing * missing, gradient: times(-2 * z.length * missing, exponentials) };
  },
  double_softmax(z, teacher, T) {
    const inner = softmax(z);
    const { value, gradient } = SOFT_TERMS.kd(inner, teacher, T);
    return { value, gradient: throughSoftmax(inner, gradient) };
  },
};

/** A step of 1 divided by the curvature is safe; only one loss curves by more than 1. */
function safeRate(loss, z, alpha, rate) {
  if (loss !== "no_teacher") return rate;
  return Math.min(rate, 1 / (2 * z.length * alpha * z.reduce((sum, value) => sum + Math.exp(2 * value), 0) + 0.5));
}

/**
 * Gradient descent on (1 - alpha) CE + alpha * soft term over free logits from zero, seen at some of its steps:
 * [{step, z, q, loss, divergence}]. Twin: descent_path in descent.py.
 */
function descentPath(logits, label, loss, temperature, alpha, { steps, rate }) {
  const logP = logSoftmax(times(1 / temperature, logits));
  const teacher = { logits, logP, p: logP.map(Math.exp) };
  const [plain, logPlain] = [softmax(logits), logSoftmax(logits)];
  const seen = [];
  let z = logits.map(() => 0);
  for (let step = 0; seen.length < steps.length; step += 1) {
    const soft = SOFT_TERMS[loss](z, teacher, temperature);
    const logQ = logSoftmax(z);
    const q = logQ.map(Math.exp);
    if (step === steps[seen.length]) {
      seen.push({
        step, z, q, loss: alpha * soft.value - (1 - alpha) * logQ[label], divergence: dot(plain, less(logPlain, logQ)),
      });
    }
    const eta = safeRate(loss, z, alpha, rate);
    z = z.map((value, k) =>
      value - eta * (alpha * soft.gradient[k] + (1 - alpha) * (q[k] - (k === label ? 1 : 0))));
  }
  return seen;
}

/** The classes in first place: one, unless several are alike. */
function favourites(probabilities) {
  const largest = Math.max(...probabilities);
  return probabilities.map((_, k) => k).filter((k) => probabilities[k] > largest - 1e-6);
}

/** The losses to choose from, in two groups that are one row of radio buttons for the keyboard. */
function lossPicker({ losses, changed }) {
  const inputs = losses.map((_, index) => {
    const input = element("input", { type: "radio", name: "loss", value: index, class: "kd-radio" });
    input.addEventListener("change", () => changed(index));
    return input;
  });
  const group = (title, faulty) => element("fieldset", { class: "kd-picker kd-cases" },
    element("legend", {}, title),
    ...losses.flatMap((loss, index) => (Boolean(loss.faulty) !== faulty ? [] : [element("label", {}, inputs[index],
      element("span", { class: `kd-chip${faulty ? " kd-chip-faulty" : ""}` }, loss.name))])));
  const groups = [group("Right", false), ...(losses.some((loss) => loss.faulty) ? [group("Faulty", true)] : [])];
  const node = element("div", { class: "kd-losses" }, ...groups);
  return { node, set(index) { inputs[index].checked = true; } };
}

/** A button that runs `show(i)` for i = 0 .. count - 1 in about three seconds, until somebody touches the panel. */
function player({ form, count, stills, show }) {
  const button = element("button", { type: "button", class: "kd-reset kd-play" }, "Play");
  let frame = 0;
  let timer = 0;

  function stop() {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    [frame, timer] = [0, 0];
    button.textContent = "Play";
  }

  function run() {
    const began = performance.now();
    let shown = 0;
    show(0);
    const advance = (now) => {
      if (!button.isConnected) return stop();
      const index = clamp(Math.floor(((now - began) / 3000) * (count - 1)), [0, count - 1]);
      if (index !== shown) show(index);
      shown = index;
      if (index === count - 1) stop();
      else frame = requestAnimationFrame(advance);
      return undefined;
    };
    frame = requestAnimationFrame(advance);
  }

  /** For those who asked for less motion: a few stills, as long in all. */
  function leaf(place = 0) {
    show(stills[place]);
    if (place + 1 === stills.length || !button.isConnected) stop();
    else timer = setTimeout(leaf, 3000 / (stills.length - 1), place + 1);
  }

  button.addEventListener("click", () => {
    if (frame || timer) return stop();
    button.textContent = "Stop";
    return window.matchMedia("(prefers-reduced-motion: reduce)").matches ? leaf() : run();
  });
  for (const type of ["pointerdown", "keydown", "input"]) {
    form.addEventListener(type, (event) => { if (event.target !== button) stop(); }, true);
  }
  return { button, stop };
}

/** Round ticks, about four of them, for an axis from low to high. */
function roundTicks([low, high]) {
  const span = high - low;
  const magnitude = 10 ** Math.floor(Math.log10(span / 4));
  const step = [1, 2, 5, 10].map((factor) => factor * magnitude).find((size) => span / size <= 5);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(6)));
}

/** The sentence under the descent panel; twin: DescentPath.summary. */
function descentSummary(path, chosen, temperature, alpha, { teacher, label, names }) {
  const end = path.at(-1);
  const [first, wanted] = [favourites(end.q), favourites(teacher)];
  const listed = (classes) => (classes.length < names.length ? classes.map((k) => names[k]).join(" and ") : "none, all alike");
  const same = String(first) === String(wanted);
  const verdict = end.divergence < 0.05 ? "within 0.05 nats of its teacher"
    : first.length === names.length ? "it has learned nothing"
    : same ? "the teacher's favourite, another distribution: a count of right answers cannot tell"
    : first.length === 1 && first[0] === label ? "the label has won over the teacher's favourite"
    : "another favourite than the teacher's";
  return `${chosen.name}, T = ${temperature}, \u03b1 = ${alpha}, after ${end.step} steps: `
    + `favourite ${listed(first)} with q = ${Math.max(...end.q).toFixed(3)} (the teacher: ${listed(wanted)} with `
    + `p = ${Math.max(...teacher).toFixed(3)}), KL(p \u2016 q) = ${Math.abs(end.divergence).toFixed(3)} nats; ${verdict}`;
}

/**
 * Where a student that is nothing but free logits ends when it goes down a loss.
 * data: logits[K], label, names[K], losses [{key, name, formula, remark, faulty}], temperatures, alphas,
 *       steps (of the descent, seen by the slider), rate, loss, temperature and alpha (indices of the default state).
 */
function descentPanel(form, data) {
  const { logits, label, names, losses, temperatures, alphas, steps } = data;
  const K = names.length;
  const teacher = softmax(logits);
  const farAtFirst = Math.log(K) - entropy(teacher); // KL(p || uniform)
  const farTop = Math.max(2 * farAtFirst, 0.1);
  const paths = new Map();
  const start = () => ({ loss: data.loss, temperature: data.temperature, alpha: data.alpha, at: steps.length - 1 });
  const state = start();
  let drawn = null;

  // Controls.
  const change = (name) => (index) => { state[name] = index; draw(); };
  const picker = lossPicker({ losses, changed: change("loss") });
  const heat = stepSlider({
    label: "Temperature T", steps: temperatures, text: (t) => `T = ${t}`, changed: change("temperature"),
    landmarks: Object.fromEntries(temperatures.map((t) => [t, ""])),
  });
  const weight = stepSlider({
    label: "Weight \u03b1 of the soft term", steps: alphas, text: (alpha) => `\u03b1 = ${alpha}`, changed: change("alpha"),
    landmarks: { 0: "label only", 0.5: "", 1: "teacher only" },
  });
  const last = steps.at(-1);
  const marks = [0, 1, 10, 100, 1000, last];
  const progress = stepSlider({
    label: "Step of the descent", steps, text: (step) => `step ${step} of ${last}`, changed: change("at"),
    landmarks: Object.fromEntries(marks.filter((step) => step !== 1000).map((step) => [step, ""])),
  });
  const play = player({
    form, count: steps.length, stills: marks.map((step) => steps.indexOf(step)).filter((i) => i >= 0), show: change("at"),
  });
  const reset = element("button", { type: "button", class: "kd-reset" }, "Reset");
  reset.addEventListener("click", () => {
    play.stop();
    Object.assign(state, start());
    draw();
  });
  const formula = element("b");
  const remark = document.createTextNode("");

  // Parts: what the student says, what the loss compares, and both distances.
  const nameWidth = 42 + 7.5 * Math.min(12, Math.max(...names.map((name) => name.length)));
  const shares = { count: K, domain: [0, 1], ticks: [0, 0.25, 0.5, 0.75, 1], reference: "outline", nameWidth, numberWidth: 54 };
  const keys = () => element("div", { class: "kd-keys" }, keyEntry("bar", "student q"), keyEntry("outline", "teacher p"));
  const plain = part("descent-plain", "Student and teacher at T = 1", keys());
  const plainChart = barChart(plain.canvas, shares);
  const soft = part("descent-soft", "", keys());
  const softChart = barChart(soft.canvas, shares);
  const overSteps = {
    xDomain: [1, last + 1], xTicks: marks.slice(0, -1).map((step) => step + 1), xText: (x) => String(x - 1),
    xTitle: "step, log scale", height: 156, left: 46, points: 0,
    yText: (tick) => String(tick).replace("-", "\u2212"),
  };
  const goal = part("descent-goal", "");
  const goalChart = curveChart(goal.canvas, { ...overSteps, yDomain: [0, 1], yTicks: [] });
  const far = part("descent-far", "");
  const farChart = curveChart(far.canvas, {
    ...overSteps, yDomain: [0, farTop], yTicks: roundTicks([0, farTop]),
    ceiling: farAtFirst, ceilingText: "all classes alike", ceilingAtEnd: true,
  });
  const signs = element("div", { class: "kd-keys kd-descent-signs" },
    element("span", {}, sign("label"), `label: ${names[label]}`),
    element("span", {}, sign("top"), `teacher\u2019s favourite: ${favourites(teacher).map((k) => names[k]).join(", ")}`));

  const line = element("output", { class: "kd-summary", "aria-live": "polite" });
  form.append(
    element("div", { class: "kd-controls kd-controls-two kd-controls-descent" }, picker.node,
      element("div", { class: "kd-formula" }, formula, element("span", { class: "kd-note" }, remark)), heat.node, weight.node,
      element("div", { class: "kd-run" }, progress.node, play.button, reset)),
    element("div", { class: "kd-parts" }, signs, plain.node, soft.node, goal.node, far.node),
    line);

  /** The path under the present setting, computed once. */
  function path() {
    const setting = [state.loss, state.temperature, state.alpha];
    const key = setting.join();
    if (!paths.has(key)) {
      paths.set(key, descentPath(logits, label, losses[state.loss].key, temperatures[state.temperature], alphas[state.alpha], data));
    }
    return { key, steps: paths.get(key) };
  }

  /** What follows from the setting, whatever the step. */
  function drawSetting(seen) {
    const chosen = losses[state.loss];
    const [T, alpha] = [temperatures[state.temperature], alphas[state.alpha]];
    picker.set(state.loss);
    heat.set(state.temperature);
    weight.set(state.alpha);
    formula.textContent = `L = (1 \u2212 \u03b1) CE + \u03b1 \u00b7 ${chosen.formula}`;
    remark.data = chosen.remark ? `; ${chosen.remark}` : "";
    soft.heading.textContent = `At T = ${T}`;
    const values = seen.map(({ loss }) => loss);
    const [lowest, highest] = [Math.min(...values), Math.max(...values)];
    const room = 0.08 * Math.max(highest - lowest, 0.1);
    const fromZero = lowest > -1e-9 && lowest < highest - lowest + 0.1; // where zero is near, the axis starts there
    const domain = [fromZero ? 0 : lowest - room, Math.max(highest, lowest + 0.02) + room];
    goalChart.setY({ domain, ticks: roundTicks(domain) });
    const words = descentSummary(seen, chosen, T, alpha, { teacher, label, names });
    if (line.textContent !== words) line.textContent = words; // not at each step: it speaks
  }

  function draw() {
    const { key, steps: seen } = path();
    const newCurve = drawn !== key;
    if (newCurve) drawSetting(seen);
    drawn = key;
    const now = seen[state.at];
    const T = temperatures[state.temperature];
    progress.set(state.at);
    drawShares(plainChart, 1, now);
    drawShares(softChart, T, now);
    goal.heading.textContent = `Loss L: ${fixedText(now.loss, 3)} at step ${now.step}`;
    goalChart.update({
      name: `The loss over the steps, from ${fixedText(seen[0].loss, 3)} to ${fixedText(seen.at(-1).loss, 3)}; ${fixedText(now.loss, 3)} at step ${now.step}`,
      curve: seen.map(({ step, loss }) => [step + 1, loss]), newCurve, at: [now.step + 1, now.loss],
      data: { step: now.step, loss: now.loss },
    });
    const above = now.divergence > farTop;
    const text = Math.abs(now.divergence).toFixed(3);
    far.heading.textContent = `To the teacher at T = 1: KL(p \u2016 q) = ${text} nats${above ? ", off the axis" : ""}`;
    farChart.update({
      name: `Divergence from teacher to student over the steps; ${text} nats at step ${now.step}`,
      curve: seen.map(({ step, divergence }) => [step + 1, Math.min(divergence, farTop)]), newCurve,
      at: [now.step + 1, Math.min(now.divergence, farTop)],
      data: { step: now.step, divergence: now.divergence },
    });
  }

  function drawShares(chart, T, now) {
    const [p, q] = [logits, now.z].map((row) => softmax(times(1 / T, row)));
    const first = favourites(teacher);
    chart.update({
      name: `Student and teacher at T = ${T}, step ${now.step}: `
        + names.map((name, k) => `${name} ${q[k].toFixed(3)} and ${p[k].toFixed(3)}`).join(", "),
      items: names.map((name, k) => ({
        name, value: q[k], reference: p[k], text: probabilityText(q[k]), label: k === label, top: first.includes(k),
        data: { q: q[k], p: p[k] },
      })),
    });
  }

  draw();
}

const PANEL = {
  name: "descent",
  make: descentPanel,
  style: `
.kd-explorable .kd-live .kd-losses { grid-column: 1 / -1; display: grid; gap: 8px; }
.kd-explorable .kd-live .kd-losses .kd-picker { padding-left: 70px; }
.kd-explorable .kd-live .kd-losses legend { width: 62px; margin-left: -70px; padding-right: 0; }
.kd-explorable .kd-live .kd-chip-faulty { border-style: dashed; }
.kd-explorable .kd-live .kd-formula { grid-column: 1 / -1; min-height: 1.4em; }
.kd-explorable .kd-live .kd-run { grid-column: 1 / -1; display: grid; grid-template-columns: 1fr auto auto; gap: 10px; align-items: center; }
.kd-explorable .kd-live .kd-play { min-width: 68px; }
.kd-explorable .kd-live .kd-descent-signs { grid-column: 1 / -1; margin: 0; }
.kd-explorable .kd-live .kd-descent-signs svg.kd-sign { display: inline-block; width: 12px; height: 12px; margin-right: 6px; vertical-align: -1px; }
@container (max-width: 700px) {
  .kd-explorable .kd-live .kd-run { grid-template-columns: auto auto 1fr; }
}
@container (max-width: 560px) {
  .kd-explorable .kd-live .kd-losses .kd-picker { padding-left: 0; }
  .kd-explorable .kd-live .kd-losses legend { width: 100%; margin-left: 0; padding-top: 0; }
  .kd-explorable .kd-live .kd-descent-signs { grid-column: 1; }
}
`,
};
