/* The playground panel: two students learn to colour the plane, one of them with a teacher; both train here.
 * explorables.js says how this file gets into a page; the twin is kdlab/lab/playground.py (autograd, kd_loss, torch's Adam). */

const CLASSES = 3;

/** mulberry32, by Tommy Ettinger: numbers in [0, 1) from a 32-bit seed. */
function uniformFrom(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6D2B79F5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A standard normal number, by Box and Muller. */
function normalFrom(uniform) {
  const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
  return radius * Math.cos(2 * Math.PI * uniform());
}

/** Seeds of a start's two streams: which points are labelled, and the first weights. */
const startSeed = (start, stream) => 1000003 * start + stream;

/** Indices of the labelled points: the first `count` of each class, after a shuffle. */
function labelledPoints(start, count, pool) {
  const uniform = uniformFrom(startSeed(start, 0));
  return Array.from({ length: CLASSES }, (_, k) => {
    const order = Array.from({ length: pool }, (_, i) => k * pool + i);
    for (let last = pool - 1; last > 0; last -= 1) {
      const other = Math.floor(uniform() * (last + 1));
      [order[last], order[other]] = [order[other], order[last]];
    }
    return order.slice(0, count);
  }).flat();
}

/** All weights in one array: W1 (2 x H), b1 (H), W2 (H x 3), b2 (3). */
function firstWeights(start, size) {
  const uniform = uniformFrom(startSeed(start, 1));
  const weights = new Float64Array(6 * size + CLASSES);
  for (let i = 0; i < 6 * size; i += 1) {
    const scale = i < 2 * size ? 1.5 : i < 3 * size ? 0.75 : 1 / Math.sqrt(size);
    weights[i] = scale * normalFrom(uniform);
  }
  return weights;
}

/** Hidden units and logits of one point, written into `hidden` and `logits`. */
function forward(weights, size, x, y, hidden, logits) {
  for (let k = 0; k < CLASSES; k += 1) logits[k] = weights[6 * size + k];
  for (let j = 0; j < size; j += 1) {
    const h = Math.tanh(weights[j] * x + weights[size + j] * y + weights[2 * size + j]);
    hidden[j] = h;
    for (let k = 0; k < CLASSES; k += 1) logits[k] += h * weights[3 * size + CLASSES * j + k];
  }
}

/** softmax(scores / T) into `out`; returns ln of the sum that log-probabilities need. */
function softmaxInto(scores, temperature, out) {
  const largest = Math.max(scores[0], scores[1], scores[2]);
  let total = 0;
  for (let k = 0; k < CLASSES; k += 1) {
    out[k] = Math.exp((scores[k] - largest) / temperature);
    total += out[k];
  }
  for (let k = 0; k < CLASSES; k += 1) out[k] /= total;
  return largest / temperature + Math.log(total);
}

/**
 * A student that trains: `points` are those its loss looks at, [{x, y, label, hard, soft, p, negEntropy}], where `hard`
 * weighs the cross-entropy with the label and `soft` the divergence from the teacher's p at temperature T.
 */
function trainee(size, start, points, temperature, rate) {
  const weights = firstWeights(start, size);
  const [gradient, mean, square] = [0, 1, 2].map(() => new Float64Array(weights.length));
  const [hidden, logits, q, qT, dz] = [new Float64Array(size), ...[0, 1, 2, 3].map(() => new Float64Array(CLASSES))];
  let steps = 0;

  /** The loss, and its gradient into `gradient`: dL/dz = hard (q - y) + soft T (qT - p), then backwards through tanh. */
  function lossAndGradient() {
    let loss = 0;
    gradient.fill(0);
    for (const { x, y, label, hard, soft, p, negEntropy } of points) {
      forward(weights, size, x, y, hidden, logits);
      dz.fill(0);
      if (hard > 0) {
        loss += hard * (softmaxInto(logits, 1, q) - logits[label]);
        for (let k = 0; k < CLASSES; k += 1) dz[k] = hard * (q[k] - (k === label ? 1 : 0));
      }
      if (soft > 0) {
        const logTotal = softmaxInto(logits, temperature, qT);
        let divergence = negEntropy + logTotal;
        for (let k = 0; k < CLASSES; k += 1) {
          divergence -= p[k] * logits[k] / temperature;
          dz[k] += soft * temperature * (qT[k] - p[k]);
        }
        loss += soft * temperature * temperature * divergence;
      }
      backward(x, y);
    }
    return loss;
  }

  function backward(x, y) {
    for (let k = 0; k < CLASSES; k += 1) gradient[6 * size + k] += dz[k];
    for (let j = 0; j < size; j += 1) {
      const h = hidden[j];
      let back = 0;
      for (let k = 0; k < CLASSES; k += 1) {
        const at = 3 * size + CLASSES * j + k;
        gradient[at] += h * dz[k];
        back += weights[at] * dz[k];
      }
      back *= 1 - h * h;
      gradient[j] += back * x;
      gradient[size + j] += back * y;
      gradient[2 * size + j] += back;
    }
  }

  /** One step of Adam, with torch's defaults; returns the loss before it. */
  function step() {
    const loss = lossAndGradient();
    steps += 1;
    const stride = rate / (1 - 0.9 ** steps);
    const root = Math.sqrt(1 - 0.999 ** steps);
    for (let i = 0; i < weights.length; i += 1) {
      mean[i] += 0.1 * (gradient[i] - mean[i]);
      square[i] = 0.999 * square[i] + 0.001 * gradient[i] * gradient[i];
      weights[i] -= stride * mean[i] / (Math.sqrt(square[i]) / root + 1e-8);
    }
    return loss;
  }

  function logitsAt(x, y) {
    forward(weights, size, x, y, hidden, logits);
    return logits; // the same array each time
  }

  return { weights, step, logitsAt, loss: lossAndGradient };
}

const largestOf = (z) => (z[0] >= z[1] ? (z[0] >= z[2] ? 0 : 2) : (z[1] >= z[2] ? 1 : 2));

/** The points that a student's loss looks at, with their weights. */
function lessonFor({ points, classes, answers }, labelled, { temperature, alpha, everywhere }) {
  const few = new Set(labelled);
  const asked = alpha > 0 && everywhere ? points.map((_, i) => i) : labelled;
  return asked.map((i) => {
    const p = softmax(answers[i].map((z) => z / temperature));
    return {
      x: points[i][0], y: points[i][1], label: classes[i], p, negEntropy: -entropy(p),
      hard: few.has(i) ? (1 - alpha) / labelled.length : 0,
      soft: alpha / asked.length,
    };
  });
}

// ---- pictures

const SIDE = 360; // pixels of a map's canvas
const CELLS = 180; // in which a map's classes are told apart
const NODES = 46; // at which a student is asked, for each axis

/** Class marks as paths of `size` around a point; circles, squares, triangles. */
const MARKS = [
  (x, y, r) => `M${x - r},${y}a${r},${r} 0 1 0 ${2 * r},0a${r},${r} 0 1 0 ${-2 * r},0Z`,
  (x, y, r) => `M${x - 0.9 * r},${y - 0.9 * r}h${1.8 * r}v${1.8 * r}h${-1.8 * r}Z`,
  (x, y, r) => `M${x},${y - 1.25 * r}L${x + 1.15 * r},${y + 0.85 * r}H${x - 1.15 * r}Z`,
];

const COLOUR_NAMES = ["blue", "orange", "purple"];

/** A class's 12 x 12 pattern: plain, slanted lines, dots; half transparent, so that any theme's ground shines through. */
function patternOf(k, color) {
  const rgb = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  const pixel = (alpha) => new Uint32Array(new Uint8Array([...rgb, alpha]).buffer)[0]; // whatever the byte order
  const [pale, strong] = [pixel(70), pixel(165)];
  return Uint32Array.from({ length: 144 }, (_, i) => {
    const [row, column] = [Math.floor(i / 12), i % 12];
    const hatched = k === 1 ? (row + column) % 12 < 2 : k === 2 && (row % 6 < 2 && (column + 6 * Math.floor(row / 6)) % 12 < 2);
    return hatched ? strong : pale;
  });
}

/** "a12b3..." to classes, cell by cell: run-length coded by playground_panel.py. */
function decodeMap(text) {
  return Uint8Array.from(Array.from(text.matchAll(/([a-c])(\d+)/g))
    .flatMap(([, letter, count]) => Array(Number(count)).fill(letter.charCodeAt(0) - 97)));
}

/** A student's classes on the cells: its logits on a coarser lattice, with straight lines between. */
function studentMap(student, reach, cells) {
  const lattice = new Float64Array(NODES * NODES * CLASSES);
  const gap = (2 * reach) / (NODES - 1);
  for (let row = 0; row < NODES; row += 1) {
    for (let column = 0; column < NODES; column += 1) {
      lattice.set(student.logitsAt(-reach + column * gap, reach - row * gap), CLASSES * (row * NODES + column));
    }
  }
  const per = CELLS / (NODES - 1);
  const z = [0, 0, 0];
  for (let row = 0; row < CELLS; row += 1) {
    const [top, down] = [Math.floor(row / per), ((row % per) + 0.5) / per];
    for (let column = 0; column < CELLS; column += 1) {
      const [left, right] = [Math.floor(column / per), ((column % per) + 0.5) / per];
      const corner = CLASSES * (top * NODES + left);
      for (let k = 0; k < CLASSES; k += 1) {
        const [a, b] = [corner + k, corner + CLASSES * NODES + k];
        const above = lattice[a] + right * (lattice[a + CLASSES] - lattice[a]);
        const below = lattice[b] + right * (lattice[b + CLASSES] - lattice[b]);
        z[k] = above + down * (below - above);
      }
      cells[row * CELLS + column] = largestOf(z);
    }
  }
}

/** A map of the plane: regions on a canvas, points in an SVG over it. `groups` of points are drawn in CSS classes. */
function mapChart(host, { points, classes, reach, patterns, groups }) {
  const canvas = element("canvas", { class: "kd-map", role: "img", width: SIDE, height: SIDE });
  const svg = shape("svg", { class: "kd-map-points", viewBox: `0 0 ${SIDE} ${SIDE}`, "aria-hidden": "true" });
  const paths = groups.map(([name]) => MARKS.map((_, k) => svg.appendChild(shape("path", { class: `kd-${name} kd-class-${k}` }))));
  host.append(element("div", { class: "kd-map-frame" }, canvas, svg));
  const context = canvas.getContext("2d");
  const image = context.createImageData(SIDE, SIDE);
  const pixels = new Uint32Array(image.data.buffer);
  const border = new Uint32Array(new Uint8Array([128, 128, 128, 255]).buffer)[0];
  const place = linear([-reach, reach], [0, SIDE]);
  const round = (value) => Math.round(10 * value) / 10;

  function colour(cells) {
    const per = SIDE / CELLS;
    for (let y = 0; y < SIDE; y += 1) {
      const row = CELLS * Math.floor(y / per);
      for (let x = 0; x < SIDE; x += 1) {
        const cell = row + Math.floor(x / per);
        const edge = (x % per === per - 1 && x < SIDE - 1 && cells[cell + 1] !== cells[cell])
          || (y % per === per - 1 && y < SIDE - 1 && cells[cell + CELLS] !== cells[cell]);
        pixels[y * SIDE + x] = edge ? border : patterns[cells[cell]][12 * (y % 12) + (x % 12)];
      }
    }
    context.putImageData(image, 0, 0);
  }

  /** Which points are in which group: one list of indices for each. */
  function mark(lists) {
    lists.forEach((list, group) => MARKS.forEach((path, k) => {
      const at = ([x, y]) => path(round(place(x)), round(SIDE - place(y)), groups[group][1]);
      paths[group][k].setAttribute("d", list.filter((i) => classes[i] === k).map((i) => at(points[i])).join(""));
    }));
  }

  return { colour, mark, canvas };
}

/** Accuracy over the steps on fixed axes: two lines that differ in dash and mark, and the teacher's level. */
function accuracyChart(host, { steps, level, levelText }) {
  const [height, left, bottom] = [196, 46, 156];
  const svg = shape("svg", { role: "img", height, class: "kd-accuracy" });
  const add = (tag, attributes, ...children) => svg.appendChild(shape(tag, attributes, ...children));
  const y = linear([0.2, 1], [bottom, 8]);
  for (const tick of [0.2, 0.4, 0.6, 0.8, 1]) {
    add("text", { class: "kd-tick", x: left - 7, y: y(tick), dy: "0.36em", "text-anchor": "end" }, `${Math.round(100 * tick)} %`);
  }
  const across = [0.2, 0.4, 0.6, 0.8, 1].map((tick) =>
    add("line", { class: tick === 0.2 ? "kd-axis" : "kd-grid", x1: left, y1: y(tick), y2: y(tick) }));
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => ({
    step: share * steps, text: add("text", { class: "kd-tick", y: bottom + 17, "text-anchor": "middle" }, String(share * steps)),
  }));
  const title = add("text", { class: "kd-tick", y: height - 5, "text-anchor": "middle" }, "step");
  across.push(add("line", { class: "kd-ceiling", x1: left, y1: y(level), y2: y(level) }));
  const note = add("text", { class: "kd-tick", "text-anchor": "end", y: y(level) + 15 }, levelText);
  const lines = ["alone", "taught"].map((name) => add("path", { class: `kd-track-${name}` }));
  const dots = ["alone", "taught"].map((name) => add("circle", { class: `kd-end-${name}`, r: 5 }));
  host.append(svg);
  let x = linear([0, steps], [left, 300]);
  let last = null;

  function layout(width) {
    x = linear([0, steps], [left + 6, width - 12]);
    set(svg, { viewBox: `0 0 ${width} ${height}` });
    across.forEach((line) => line.setAttribute("x2", width - 6));
    ticks.forEach(({ step, text }) => text.setAttribute("x", x(step)));
    title.setAttribute("x", (left + width) / 2);
    note.setAttribute("x", width - 14);
    if (last) update(last);
  }

  /** @param {{name, curve: [step, alone, taught][]}} state */
  function update(state) {
    last = state;
    svg.setAttribute("aria-label", state.name);
    const end = state.curve.at(-1);
    lines.forEach((line, arm) => line.setAttribute("d",
      "M" + state.curve.map((point) => `${x(point[0]).toFixed(1)},${y(point[arm + 1]).toFixed(1)}`).join("L")));
    dots.forEach((dot, arm) => set(dot, { cx: x(end[0]), cy: y(end[arm + 1]) }));
  }

  onWidth(host, layout);
  return { update };
}

// ---- what was tried

/** What several starts with one setting say, in points; the words and the rule are kdlab.comparison's. */
function pairedVerdict(differences, quantiles) {
  const n = differences.length;
  const mean = differences.reduce((sum, value) => sum + value, 0) / n;
  const spread = Math.sqrt(differences.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1));
  const half = (quantiles[n - 1] * spread) / Math.sqrt(n);
  const [low, high] = [mean - half, mean + half];
  return { mean, low, high, verdict: low > 0 ? "better" : high < 0 ? "worse" : "cannot tell" };
}

/** A difference in points: its sign always, one decimal. */
function signedPoints(value) {
  const text = fixedText(value, 1);
  return text === "0.0" || text[0] === "\u2212" ? text : `+${text}`;
}

/** The list of tries: as many as were made, the last `shown` of them in sight. */
function triesTable(host, { shown }) {
  const head = ["start", "setting", "labels alone", "with the teacher", "points"];
  const rows = Array.from({ length: shown }, () => {
    const cells = head.map((_, i) => element(i ? "td" : "th", i ? {} : { scope: "row" }));
    return { cells, node: element("tr", {}, ...cells) };
  });
  const body = element("tbody");
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...head.map((name) => element("th", { scope: "col" }, name)))), body);
  const empty = element("p", { class: "kd-note" }, "Nothing yet: a run that reaches its last step is noted here.");
  host.append(element("div", { class: "kd-tries-scroll" }, table), empty);
  return (tries) => {
    const last = tries.slice(-shown).reverse();
    table.hidden = !last.length;
    empty.hidden = Boolean(last.length);
    body.replaceChildren(...last.map(({ start, words, accuracies: [alone, taught] }, i) => {
      [String(start), words, percentText(alone), percentText(taught), signedPoints(100 * (taught - alone))]
        .forEach((text, column) => { rows[i].cells[column].textContent = text; });
      return rows[i].node;
    }));
  };
}

/** A row of words to choose from, as casePicker, but several may stand in one panel. */
function optionRow({ name, legend, options, changed }) {
  const inputs = options.map((_, index) => {
    const input = element("input", { type: "radio", name, value: index, class: "kd-radio" });
    input.addEventListener("change", () => changed(index));
    return input;
  });
  const node = element("fieldset", { class: "kd-picker kd-cases kd-options" }, element("legend", {}, legend),
    ...options.map((text, index) => element("label", {}, inputs[index], element("span", { class: "kd-chip" }, text))));
  return { node, set(index) { inputs[index].checked = true; } };
}

/**
 * Two students learn to colour the plane, side by side, one of them with a teacher.
 * data: points[n][2], classes[n], answers[n][3] (the teacher's logits), held[m][2], heldClasses[m], teacherMap, teacherAccuracy,
 *       sizes, temperatures, alphas, labels, steps, rate, reach, probes, quantiles, setting {size, temperature, alpha, labels,
 *       answers, start}: the default state, all but the start as indices.
 */
function playgroundPanel(form, data) {
  const { points, classes, held, heldClasses, sizes, temperatures, alphas, labels, steps, reach, quantiles } = data;
  const pool = points.length / CLASSES;
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const [stills, record, most] = [8, 5, quantiles.length]; // redraws for less motion; steps between points of the curve
  const state = { ...data.setting };
  let tries = [];
  let run = null;
  let frame = 0; // of the animation; 0 when nothing moves
  let pace = 0; // optimiser steps per millisecond
  let waiting = 0; // starts still to be trained after this one
  let clock = { last: 0, owed: 0, spoken: 0 };

  // Controls.
  const change = (name) => (index) => { state[name] = index; begin(); };
  const heat = stepSlider({
    label: "Temperature T", steps: temperatures, text: (t) => `T = ${t}`, changed: change("temperature"),
    landmarks: Object.fromEntries(temperatures.map((t) => [t, ""])),
  });
  const weight = stepSlider({
    label: "Weight \u03b1 of the teacher\u2019s term", steps: alphas, text: (alpha) => `\u03b1 = ${alpha}`, changed: change("alpha"),
    landmarks: { 0: "labels only", 0.5: "", 0.9: "", 1: "" },
  });
  const choices = {
    size: optionRow({ name: "size", legend: "Hidden units of the student", options: sizes.map(String), changed: change("size") }),
    labels: optionRow({
      name: "labels", legend: "Labelled points of each class", changed: change("labels"),
      options: labels.map((count) => (count === pool ? `all ${count}` : String(count))),
    }),
    answers: optionRow({
      name: "answers", legend: "The teacher answers for", options: ["labelled points only", "all points"], changed: change("answers"),
    }),
  };
  const button = (text, clicked) => {
    const node = element("button", { type: "button", class: "kd-reset" }, text);
    node.addEventListener("click", clicked);
    return node;
  };
  const train = button("Train", () => {
    if (frame) return pause();
    if (run.step >= steps) begin();
    return go(steps / 4000);
  });
  train.classList.add("kd-train");
  const once = button("One step", () => {
    pause();
    if (run.step < steps) advance(1);
    settle();
  });
  const another = button("Another start", () => { nextStart(); go(steps / 4000); });
  const five = button("5 more starts, fast", () => { nextStart(4); go(Infinity); });
  const reset = button("Reset", () => {
    pause();
    Object.assign(state, data.setting);
    tries = [];
    begin();
  });

  // Parts.
  const patterns = COLOUR_NAMES.map((name, k) => patternOf(k, getComputedStyle(form).getPropertyValue(`--kd-${name}`).trim() || "#808080"));
  const shared = { points, classes, reach, patterns };
  const makeMap = (name, groups) => {
    const note = element("div", { class: "kd-note" });
    const made = part(`map-${name}`, "", note);
    return { ...made, note, chart: mapChart(made.canvas, { ...shared, groups }) };
  };
  const teacher = makeMap("teacher", [["asked", 5]]);
  const students = ["alone", "taught"].map((name) => makeMap(name, [["faint", 3.5], ["asked", 5], ["labelled", 9]]));
  const signs = element("div", { class: "kd-keys kd-map-keys" },
    ...MARKS.map((path, k) => element("span", { class: "kd-key" },
      shape("svg", { viewBox: "-12 -12 24 24", class: "kd-map-sign", "aria-hidden": "true" }, shape("path", { class: `kd-labelled kd-class-${k}`, d: path(0, 0, 8) })),
      `class ${"ABC"[k]}, region ${["plain", "striped", "dotted"][k]}`)),
    element("span", {}, "Large: labelled. Small: its label is hidden from the students."));
  const curve = part("curve", "Held-out points that are right, over the steps", element("div", { class: "kd-keys" },
    element("span", { class: "kd-key" }, element("span", { class: "kd-swatch kd-swatch-alone" }), "labels alone"),
    element("span", { class: "kd-key" }, element("span", { class: "kd-swatch kd-swatch-taught" }), "with the teacher")));
  const curveOf = accuracyChart(curve.canvas, {
    steps, level: data.teacherAccuracy, levelText: `teacher ${percentText(data.teacherAccuracy)}`,
  });
  const verdict = element("p", { class: "kd-verdict", "aria-live": "polite" });
  const list = part("tries", "Runs so far", verdict);
  const showTries = triesTable(list.canvas, { shown: 8 });
  const line = element("output", { class: "kd-summary", "aria-live": "polite" });
  form.append(
    element("div", { class: "kd-controls kd-controls-two kd-controls-playground" }, choices.size.node, choices.labels.node,
      choices.answers.node, heat.node, weight.node,
      element("div", { class: "kd-buttons" }, train, once, another, five, reset)),
    element("div", { class: "kd-parts" }, signs, teacher.node, ...students.map(({ node }) => node), curve.node, list.node),
    line);
  teacher.heading.textContent = `Teacher: ${percentText(data.teacherAccuracy)}`;
  teacher.note.textContent = `trained before, on all ${points.length} labels`;
  teacher.chart.colour(decodeMap(data.teacherMap));
  teacher.chart.mark([points.map((_, i) => i)]);
  teacher.chart.canvas.setAttribute("aria-label",
    `The teacher\u2019s map of the plane into three classes, one spiral arm each; ${percentText(data.teacherAccuracy)} of held-out points right`);

  // ---- the run

  /** Back to step 0 with the present setting; whoever was training goes on with it. `more` starts are to follow. */
  function begin(more = 0) {
    const [T, alpha, size] = [temperatures[state.temperature], alphas[state.alpha], sizes[state.size]];
    const labelled = labelledPoints(state.start, labels[state.labels], pool);
    const everywhere = state.answers === 1;
    const arms = [0, alpha].map((share) => trainee(
      size, state.start, lessonFor(data, labelled, { temperature: T, alpha: share, everywhere }), T, data.rate));
    run = { arms, step: 0, T, alpha, size, labelled, everywhere, curve: [], cells: new Uint8Array(CELLS * CELLS) };
    note();
    clock = { last: performance.now(), owed: 0, spoken: 0 };
    waiting = more;
    drawSetting();
    draw();
    if (!frame || !waiting) speak(); // of many quick starts only the last one speaks
  }

  function nextStart(more = 0) {
    state.start += 1;
    begin(more);
  }

  function accuracies() {
    return run.arms.map((student) =>
      held.filter(([x, y], i) => largestOf(student.logitsAt(x, y)) === heldClasses[i]).length / held.length);
  }

  function note() {
    run.curve.push([run.step, ...accuracies()]);
  }

  function advance(count) {
    for (let i = 0; i < count && run.step < steps; i += 1) {
      run.arms.forEach((student) => student.step());
      run.step += 1;
      if (run.step % record === 0 || run.step === steps) note();
    }
    if (run.step === steps) remember();
  }

  function go(speed) {
    pace = speed;
    clock = { last: performance.now(), owed: 1, spoken: performance.now() };
    train.textContent = "Pause";
    if (!frame) frame = requestAnimationFrame(tick);
  }

  function pause() {
    cancelAnimationFrame(frame);
    [frame, waiting] = [0, 0];
    train.textContent = run && run.step > 0 && run.step < steps ? "Continue" : "Train";
  }

  /** One frame: as many steps as the time that has passed is worth, but never more than a frame can bear. */
  function tick(now) {
    if (!form.isConnected) return pause();
    const before = run.step;
    clock.owed += pace === Infinity ? steps : pace * clamp(now - clock.last, [0, 400]);
    clock.last = now;
    for (const began = performance.now(); clock.owed >= 1 && run.step < steps && performance.now() - began < 25; clock.owed -= 1) {
      advance(1);
    }
    clock.owed = Math.min(clock.owed, 60);
    const stage = (step) => Math.floor((stills * step) / steps);
    if (!still.matches || run.step === steps || (pace !== Infinity && stage(run.step) !== stage(before))) draw();
    if (run.step === steps) return finish();
    if (now - clock.spoken > 1500 && pace !== Infinity) {
      clock.spoken = now;
      speak();
    }
    frame = requestAnimationFrame(tick);
    return undefined;
  }

  function finish() {
    if (waiting > 0) {
      nextStart(waiting - 1);
      frame = requestAnimationFrame(tick);
    } else {
      pause();
      settle();
    }
  }

  /** Draw and say where things stand, now that nothing moves. */
  function settle() {
    train.textContent = run.step > 0 && run.step < steps ? "Continue" : "Train";
    draw();
    speak();
  }

  // ---- tries

  function settingWords() {
    const who = run.everywhere ? "all points" : "labelled";
    return `${run.size} units, ${labels[state.labels]} a class, T ${run.T}, \u03b1 ${run.alpha}, ${who}`;
  }

  function remember() {
    const words = settingWords();
    if (tries.some((one) => one.words === words && one.start === state.start)) return;
    tries.push({ start: state.start, words, accuracies: run.curve.at(-1).slice(1) });
    drawTries();
  }

  function drawTries() {
    showTries(tries);
    const equal = tries.filter(({ words }) => words === settingWords()).slice(-most);
    const differences = equal.map(({ accuracies: [alone, taught] }) => 100 * (taught - alone));
    const starts = `${equal.length} ${equal.length === 1 ? "start" : "starts"} with this setting`;
    let text = `${starts}. From five on, an interval and a verdict stand here.`;
    for (const name of ["mean", "low", "high"]) delete verdict.dataset[name];
    if (equal.length >= 5) {
      const { mean, low, high, verdict: word } = pairedVerdict(differences, quantiles);
      text = `${starts}: with the teacher ${signedPoints(mean)} points on average, 95 % interval `
        + `${signedPoints(low)} to ${signedPoints(high)}: ${word}.`;
      Object.assign(verdict.dataset, { mean, low, high });
    }
    if (verdict.textContent !== text) verdict.textContent = text;
  }

  // ---- drawing

  /** What follows from the setting, whatever the step. */
  function drawSetting() {
    heat.set(state.temperature);
    weight.set(state.alpha);
    for (const name of ["size", "labels", "answers"]) choices[name].set(state[name]);
    const few = new Set(run.labelled);
    const rest = points.map((_, i) => i).filter((i) => !few.has(i));
    const answered = run.alpha > 0 && run.everywhere;
    students[0].chart.mark([rest, [], run.labelled]);
    students[1].chart.mark(answered ? [[], rest, run.labelled] : [rest, [], run.labelled]);
    const [n, m] = [run.labelled.length, run.everywhere ? points.length : run.labelled.length];
    students[0].note.textContent = `L = CE on ${n} labelled points`;
    students[1].note.textContent = `L = ${Number((1 - run.alpha).toFixed(2))} CE on ${n} labelled points `
      + `+ ${run.alpha} \u00d7 ${run.T}\u00b2 KL on ${m} points`;
    drawTries();
  }

  function draw() {
    const now = run.curve.at(-1)[0] === run.step ? run.curve.at(-1) : [run.step, ...accuracies()];
    run.shown = now;
    ["Labels alone", "With the teacher"].forEach((name, arm) => {
      const { heading, chart } = students[arm];
      studentMap(run.arms[arm], reach, run.cells);
      chart.colour(run.cells);
      heading.textContent = `${name}: ${percentText(now[arm + 1])}`;
      chart.canvas.setAttribute("aria-label", `Map of the student, ${name.toLowerCase()}, at step ${run.step} of ${steps}: `
        + `${percentText(now[arm + 1])} of held-out points right`);
      Object.assign(chart.canvas.dataset, { step: run.step, accuracy: now[arm + 1] });
    });
    curveOf.update({
      name: `Share of held-out points right at step ${run.step} of ${steps}: labels alone ${percentText(now[1])}, `
        + `with the teacher ${percentText(now[2])}, the teacher itself ${percentText(data.teacherAccuracy)}`,
      curve: run.curve.at(-1)[0] === run.step ? run.curve : [...run.curve, now],
    });
  }

  /** The line below, which a screen reader speaks; twin: PlaygroundState.summary. And the numbers that a test reads. */
  function speak() {
    const who = run.everywhere ? "all points" : "the labelled points";
    const [, alone, taught] = run.shown;
    line.textContent = `Start ${state.start}, ${run.size} hidden units, ${run.labelled.length} of ${points.length} points labelled, `
      + `T = ${run.T}, \u03b1 = ${run.alpha}, the teacher answers for ${who}; step ${run.step} of ${steps}: `
      + `labels alone ${percentText(alone)}, with the teacher ${percentText(taught)} of the ${held.length} held-out points right`;
    students.forEach(({ chart }, arm) => {
      const student = run.arms[arm];
      chart.canvas.dataset.probe = JSON.stringify(data.probes.map(([x, y]) => Array.from(student.logitsAt(x, y))));
      chart.canvas.dataset.loss = student.loss();
    });
  }

  begin();
}

const PANEL = {
  name: "playground",
  make: playgroundPanel,
  style: `
.kd-explorable .kd-live .kd-controls-playground .kd-options { grid-column: 1 / -1; }
.kd-explorable .kd-live .kd-controls-playground .kd-options legend { width: 232px; padding-right: 0; }
.kd-explorable .kd-live .kd-buttons { grid-column: 1 / -1; display: flex; flex-wrap: wrap; gap: 8px 10px; }
.kd-explorable .kd-live .kd-train { min-width: 92px; font-weight: 700; border: 2px solid var(--kd-bar); }
.kd-explorable .kd-live .kd-map-keys { grid-column: 1 / -1; margin: 0; color: inherit; }
.kd-explorable .kd-live svg.kd-map-sign { display: inline-block; width: 16px; height: 16px; }
.kd-explorable .kd-live .kd-part-map-teacher, .kd-explorable .kd-live .kd-part-map-alone, .kd-explorable .kd-live .kd-part-map-taught { grid-column: span 8; }
.kd-explorable .kd-live .kd-map-frame { position: relative; width: 100%; max-width: 340px; aspect-ratio: 1; border: 1px solid var(--kd-soft); }
.kd-explorable .kd-live .kd-map, .kd-explorable .kd-live .kd-map-points { position: absolute; inset: 0; width: 100%; height: 100%; }
.kd-explorable .kd-live .kd-map-points { overflow: hidden; pointer-events: none; }
.kd-explorable .kd-live .kd-class-0 { fill: var(--kd-bar); }
.kd-explorable .kd-live .kd-class-1 { fill: var(--kd-orange); }
.kd-explorable .kd-live .kd-class-2 { fill: var(--kd-purple); }
.kd-explorable .kd-live .kd-labelled { stroke: currentColor; stroke-width: 2; }
.kd-explorable .kd-live .kd-asked { stroke: currentColor; stroke-width: 1; }
.kd-explorable .kd-live .kd-faint { opacity: 0.6; }
.kd-explorable .kd-live .kd-part-map-taught .kd-note, .kd-explorable .kd-live .kd-part-map-alone .kd-note,
.kd-explorable .kd-live .kd-part-map-teacher .kd-note { margin-top: 4px; font-size: 12px; min-height: 2.8em; }
.kd-explorable .kd-live .kd-part-curve { grid-column: span 10; }
.kd-explorable .kd-live .kd-part-tries { grid-column: span 14; }
.kd-explorable .kd-live .kd-track-alone, .kd-explorable .kd-live .kd-track-taught { fill: none; stroke: currentColor; stroke-width: 2; }
.kd-explorable .kd-live .kd-track-alone { stroke-dasharray: 5 4; }
.kd-explorable .kd-live .kd-end-alone { fill: var(--jp-layout-color1, #fff); stroke: currentColor; stroke-width: 2; }
.kd-explorable .kd-live .kd-end-taught { fill: currentColor; }
.kd-explorable .kd-live .kd-swatch-alone { height: 0; border-top: 2px dashed currentColor; }
.kd-explorable .kd-live .kd-swatch-taught { height: 0; border-top: 2px solid currentColor; }
.kd-explorable .kd-live .kd-verdict { margin: 8px 0 0; min-height: 2.8em; }
.kd-explorable .kd-live .kd-tries-scroll { overflow-x: auto; min-height: 210px; }
.kd-explorable .kd-live .kd-part-tries table { border-collapse: collapse; table-layout: auto; width: 100%; margin: 0; font-size: 12px; color: inherit; background: none; }
.kd-explorable .kd-live .kd-part-tries th, .kd-explorable .kd-live .kd-part-tries td {
  padding: 2px 6px; text-align: right; background: none; color: inherit; }
.kd-explorable .kd-live .kd-part-tries td { white-space: nowrap; }
.kd-explorable .kd-live .kd-part-tries td:nth-child(2), .kd-explorable .kd-live .kd-part-tries th:nth-child(2) { text-align: left; white-space: nowrap; }
@container (max-width: 700px) {
  .kd-explorable .kd-live .kd-part-curve, .kd-explorable .kd-live .kd-part-tries { grid-column: 1 / -1; }
  .kd-explorable .kd-live .kd-controls-playground .kd-options legend { width: 100%; padding-top: 0; }
}
@container (max-width: 560px) {
  .kd-explorable .kd-live .kd-map-keys { grid-column: 1; }
}
`,
};
