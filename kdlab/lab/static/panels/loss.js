/* The loss panel: what alpha, temperature and the factor T^2 do to the distillation loss and to its gradient.
 * explorables.js says how this file gets into a page; the twin is kdlab/lab/loss_twin.py. */

const NOTHING = 1e-12; // a gradient shorter than this is rounding, here and in Python

/** The distillation loss of one row, its two terms and their gradients. Twin: loss_state in loss_twin.py. */
function lossState(studentLogits, teacherLogits, label, temperature, alpha, squared) {
  const atT = (logits) => logSoftmax(logits.map((logit) => logit / temperature));
  const [logQ, logP, logPlain] = [atT(studentLogits), atT(teacherLogits), logSoftmax(studentLogits)];
  const [student, teacher, plain] = [logQ, logP, logPlain].map((logs) => logs.map(Math.exp));
  const crossEntropy = -logPlain[label];
  const divergence = Math.max(0, dot(teacher, logP.map((log, k) => log - logQ[k])));
  const factor = squared ? temperature ** 2 : 1;
  const [hard, soft] = [(1 - alpha) * crossEntropy, alpha * factor * divergence];
  const softGradient = student.map((q, k) => alpha * (factor / temperature) * (q - teacher[k]));
  const hardGradient = plain.map((q, k) => (1 - alpha) * (q - (k === label ? 1 : 0)));
  const [softNorm, hardNorm] = [softGradient, hardGradient].map((part) => Math.sqrt(dot(part, part)));
  return {
    temperature, alpha, squared, student, plain, teacher, crossEntropy, divergence, hard, soft, total: hard + soft,
    softGradient, hardGradient, gradient: softGradient.map((value, k) => value + hardGradient[k]),
    softNorm, hardNorm,
    softShare: softNorm + hardNorm < NOTHING ? null : softNorm / (softNorm + hardNorm),
    cosine: Math.min(softNorm, hardNorm) < NOTHING ? null : dot(softGradient, hardGradient) / (softNorm * hardNorm),
  };
}

/** Three decimals, and more of them for what is small: 1.234, 0.0771; seven at most. */
function fineText(value) {
  let places = 3;
  while (value >= 1e-7 && value * 10 ** places < 99.5 && places < 7) places += 1;
  return fixedText(value, places);
}

/** A part of a gradient: its sign always, and never 0.000 for something that is not zero. */
function slopeText(value) {
  if (Math.abs(value) < NOTHING) return "0.000";
  if (Math.abs(value) < 0.0005) return value > 0 ? "<0.001" : ">\u22120.001";
  return (value > 0 ? "+" : "") + fixedText(value, 3);
}

/** The text of what may not exist. */
function orNothing(value, text) {
  return value === null ? "n/a" : text(value);
}

/** The sentence under the loss panel; twin: LossState.summary. */
function lossSummary(state, names) {
  const first = (choose) => names[state.gradient.indexOf(choose(...state.gradient))];
  const still = Math.max(...state.gradient.map(Math.abs)) < NOTHING;
  return `T = ${state.temperature}, \u03b1 = ${state.alpha.toFixed(2)}${state.squared ? "" : ", no factor T\u00b2"}: `
    + `loss ${fineText(state.total)} (hard ${fineText(state.hard)}, soft ${fineText(state.soft)}); `
    + `gradient: hard part ${fineText(state.hardNorm)}, soft part ${fineText(state.softNorm)}, `
    + `soft share ${orNothing(state.softShare, percentText)}, `
    + `cosine ${orNothing(state.cosine, (value) => fixedText(value, 2))}; a step downhill `
    + (still ? "moves nothing" : `raises ${first(Math.min)} most and lowers ${first(Math.max)} most`);
}

/** Every number of the loss panel that belongs to a class, a row each, and the sums; closed until asked for. */
function lossTable(names) {
  const columns = ["class", "z student", "z teacher", "q(1)", "q(T)", "p(T)", "hard", "soft", "sum"];
  const cells = [...names, "sum"].map((name) => {
    const row = columns.slice(1).map(() => element("td"));
    return { row, node: element("tr", {}, element("th", { scope: "row" }, name), ...row) };
  });
  const node = element("details", { class: "kd-numbers" },
    element("summary", {}, "The same in numbers, class by class"),
    element("div", { class: "kd-scroll" }, element("table", {},
      element("thead", {}, element("tr", {}, ...columns.map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, ...cells.map(({ node: row }) => row)))));
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  return {
    node,
    update(z, zTeacher, state) {
      const logitText = (value) => String(value).replace("-", "\u2212");
      const shares = [state.plain, state.student, state.teacher];
      const slopes = [state.hardGradient, state.softGradient, state.gradient];
      cells.forEach(({ row }, k) => {
        const texts = k < names.length
          ? [logitText(z[k]), logitText(zTeacher[k]), ...shares.map((p) => probabilityText(p[k])),
            ...slopes.map((values) => slopeText(values[k]))]
          : ["", "", ...shares.map((p) => probabilityText(sum(p))),
            ...slopes.map((values) => slopeText(sum(values)))];
        texts.forEach((text, i) => { row[i].textContent = text; });
      });
    },
  };
}

/**
 * What alpha, temperature and the factor T^2 do to the distillation loss and to its gradient.
 * data: student[n][K], teacher[n][K], labels[n], cases[n] and names[K], temperatures, alphas,
 *       axes[n] {gradient, terms, norms: {domain, ticks}}, case, step and alphaStep (the default state).
 */
function lossPanel(form, data) {
  const { student, teacher, labels, cases, names, temperatures, alphas, axes } = data;
  const K = names.length;
  const start = () => ({ case: data.case, step: data.step, alphaStep: data.alphaStep, squared: true });
  const state = start();
  let drawnCase = null;

  // Controls.
  const picker = casePicker({ cases, changed(index) { state.case = index; draw(); } });
  const temperature = stepSlider({
    label: "Temperature T",
    steps: temperatures,
    text: (t) => `T = ${t}`,
    landmarks: { 0.25: "", 1: "plain softmax", 4: "often used", 20: "" },
    changed(index) { state.step = index; draw(); },
  });
  const weight = stepSlider({
    label: "Weight \u03b1 of the soft term",
    steps: alphas,
    text: (alpha) => `\u03b1 = ${alpha.toFixed(2)}`,
    landmarks: { 0: "labels only", 0.5: "", 1: "teacher only" },
    changed(index) { state.alphaStep = index; draw(); },
  });
  const squared = element("input", { type: "checkbox" });
  squared.addEventListener("change", () => { state.squared = squared.checked; draw(); });
  const reset = element("button", { type: "button", class: "kd-reset" }, "Reset");
  reset.addEventListener("click", () => {
    Object.assign(state, start());
    draw();
  });

  // Parts. The classes' rows are as high in both charts, so that they stand side by side.
  const nameWidth = 36 + 7.5 * Math.min(12, Math.max(...names.map((name) => name.length)));
  const rowHeight = K > 7 ? 30 : 34;
  const rows = { count: K, rowHeight, nameWidth };
  const chances = part("loss-chances", "", element("div", { class: "kd-keys" },
    keyEntry("bar", "student q(T)"), keyEntry("outline", "teacher p(T)"),
    keyEntry("mark", "student q(1), as the hard term sees it")));
  const chancesChart = laneChart(chances.canvas, {
    ...rows,
    lanes: [
      { kind: "student", top: -7, height: 14 }, { kind: "teacher", top: -11, height: 22 },
      { kind: "plain", top: -12, height: 24, mark: true },
    ],
    numbers: [{ title: "q(T)", width: 56 }, { title: "p(T)", width: 52 }],
  });
  chancesChart.setAxis({ domain: [0, 1], ticks: [0, 0.25, 0.5, 0.75, 1] });
  const whose = { label: element("span"), top: element("span") };
  chances.canvas.before(element("div", { class: "kd-keys" },
    element("span", { class: "kd-key" }, sign("label"), whose.label),
    element("span", { class: "kd-key" }, sign("top"), whose.top)));

  const gradient = part("loss-gradient", "Gradient for each logit of the student",
    element("div", { class: "kd-note" }, "A negative bar: a step downhill pushes this logit up. "
      + "Each part sums to zero over the classes: what one logit gains, others lose."));
  gradient.canvas.before(element("div", { class: "kd-keys" },
    keyEntry("hard", "hard part"), keyEntry("soft", "soft part"), keyEntry("sum", "their sum")));
  const gradientChart = laneChart(gradient.canvas, {
    ...rows,
    lanes: ["hard", "soft", "sum"].map((kind, i) => ({ kind, top: -12 + 8.5 * i, height: 7 })),
    numbers: [{ title: "sum", width: 58 }],
    ends: [["\u2190 pushed up", "\u2190 up"], ["pushed down \u2192", "down \u2192"]],
  });

  const terms = part("loss-terms", "",
    element("div", { class: "kd-keys" }, keyEntry("pale", "the same with weight 1")));
  const termLanes = ["pale", "soft", "hard"].map((kind) => ({ kind, top: -9, height: 18 }));
  const termsChart = laneChart(terms.canvas, {
    count: 3, rowHeight: 28, nameWidth: 50, lanes: termLanes, numbers: [{ title: "", width: 66 }],
  });
  const sums = element("div", { class: "kd-sums" });
  const lines = ["hard", "soft", "L"].map((name) => {
    const line = { text: document.createTextNode(""), result: element("b") };
    sums.append(element("div", { class: "kd-sum-name" }, name),
      element("span", { class: "kd-sum" }, line.text, line.result));
    return line;
  });
  terms.canvas.after(sums);

  const norms = part("loss-norms", "Length of both parts of the gradient");
  const normsChart = laneChart(norms.canvas, {
    count: 2, rowHeight: 28, nameWidth: 50, lanes: termLanes.slice(1), numbers: [{ title: "", width: 66 }],
  });
  const figures = { share: element("b", { class: "kd-figure" }), cosine: element("b", { class: "kd-figure" }) };
  const meaning = {
    share: "soft share: soft / (soft + hard)",
    cosine: "cosine between the parts: 1 is one direction, \u22121 the opposite",
  };
  norms.node.append(element("div", { class: "kd-figures" },
    ...["share", "cosine"].map((name) => element("div", {}, figures[name], element("span", {}, meaning[name])))));

  const table = lossTable(names);
  const line = element("output", { class: "kd-summary", "aria-live": "polite" });
  form.append(
    element("div", { class: "kd-controls kd-controls-two" }, ...(cases.length > 1 ? [picker.node] : []),
      temperature.node, weight.node,
      element("label", { class: "kd-check" }, squared, "multiply the soft term by T\u00b2"), reset),
    element("div", { class: "kd-parts" }, chances.node, gradient.node, terms.node, norms.node),
    line, table.node);

  /** What follows from the case alone. */
  function drawCase() {
    gradientChart.setAxis(axes[state.case].gradient);
    termsChart.setAxis(axes[state.case].terms);
    normsChart.setAxis(axes[state.case].norms);
    whose.label.textContent = `label: ${names[labels[state.case]]}`;
    whose.top.textContent = `teacher\u2019s favourite: ${names[favourite()]}`;
  }

  function favourite() {
    return teacher[state.case].indexOf(Math.max(...teacher[state.case]));
  }

  function draw() {
    if (drawnCase !== state.case) drawCase();
    drawnCase = state.case;
    const [z, zTeacher] = [student[state.case], teacher[state.case]];
    const now = lossState(
      z, zTeacher, labels[state.case], temperatures[state.step], alphas[state.alphaStep], state.squared);
    picker.set(state.case);
    temperature.set(state.step);
    weight.set(state.alphaStep);
    squared.checked = state.squared;
    drawClasses(now);
    drawTerms(now);
    drawNorms(now);
    table.update(z, zTeacher, now);
    line.textContent = lossSummary(now, names);
  }

  function drawClasses(now) {
    const at = `T = ${now.temperature}`;
    const marks = (k) => ({ name: names[k], label: k === labels[state.case], top: k === favourite() });
    chances.heading.textContent = `Student and teacher at ${at}`;
    chancesChart.update({
      name: `Probabilities at ${at}, student and teacher: `
        + names.map((name, k) => `${name} ${now.student[k].toFixed(3)} and ${now.teacher[k].toFixed(3)}`).join(", "),
      items: names.map((_, k) => ({
        ...marks(k), spans: [[0, now.student[k]], [0, now.teacher[k]], [0, now.plain[k]]],
        numbers: [probabilityText(now.student[k]), probabilityText(now.teacher[k])],
        data: { q: now.student[k], p: now.teacher[k], plain: now.plain[k] },
      })),
    });
    const parts = [now.hardGradient, now.softGradient, now.gradient];
    gradientChart.update({
      name: "Gradient for each logit, negative means pushed up: "
        + names.map((name, k) => `${name} ${slopeText(now.gradient[k])}`).join(", "),
      items: names.map((_, k) => ({
        ...marks(k), spans: parts.map((values) => [0, values[k]]), numbers: [slopeText(now.gradient[k])],
        data: { hard: parts[0][k], soft: parts[1][k], sum: parts[2][k] },
      })),
    });
  }

  function drawTerms(now) {
    const factor = now.squared ? " T\u00b2" : "";
    const raw = now.squared ? now.temperature ** 2 * now.divergence : now.divergence;
    const row = (name, value, weightOne, spans) =>
      ({ name, spans, numbers: [fineText(value)], data: { value, raw: weightOne } });
    terms.heading.textContent = `Loss L = (1 \u2212 \u03b1) CE + \u03b1${factor} KL, in nats`;
    termsChart.update({
      name: `Loss ${fineText(now.total)}: hard term ${fineText(now.hard)}, soft term ${fineText(now.soft)}`,
      items: [
        row("hard", now.hard, now.crossEntropy, [[0, now.crossEntropy], null, [0, now.hard]]),
        row("soft", now.soft, raw, [[0, raw], [0, now.soft], null]),
        row("L", now.total, now.total, [null, [now.hard, now.total], [0, now.hard]]),
      ],
    });
    const power = now.squared ? ` \u00d7 ${now.temperature}\u00b2` : "";
    const texts = [
      [`(1 \u2212 \u03b1) CE = ${(1 - now.alpha).toFixed(2)} \u00d7 ${fineText(now.crossEntropy)} = `, now.hard],
      [`\u03b1${factor} KL = ${now.alpha.toFixed(2)}${power} \u00d7 ${fineText(now.divergence)} = `, now.soft],
      ["hard + soft = ", now.total],
    ];
    texts.forEach(([text, result], i) => {
      lines[i].text.data = text;
      lines[i].result.textContent = fineText(result);
    });
  }

  function drawNorms(now) {
    normsChart.update({
      name: `Length of the gradient: hard part ${fineText(now.hardNorm)}, soft part ${fineText(now.softNorm)}`,
      items: [["hard", now.hardNorm], ["soft", now.softNorm]].map(([name, value]) => ({
        name, spans: ["soft", "hard"].map((kind) => (kind === name ? [0, value] : null)),
        numbers: [fineText(value)], data: { value },
      })),
    });
    figures.share.textContent = orNothing(now.softShare, percentText);
    figures.cosine.textContent = orNothing(now.cosine, (value) => fixedText(value, 2));
    Object.assign(norms.node.dataset, { share: now.softShare ?? "n/a", cosine: now.cosine ?? "n/a" });
  }

  draw();
}

const PANEL = {
  name: "loss",
  make: lossPanel,
  style: `
.kd-explorable .kd-live .kd-check { display: inline-flex; align-items: center; gap: 8px; margin: 0; cursor: pointer; justify-self: start; }
.kd-explorable .kd-live .kd-check input { width: 18px; height: 18px; margin: 0; accent-color: var(--kd-bar); cursor: pointer; }
.kd-explorable .kd-live .kd-check input:focus-visible { outline: 3px solid var(--kd-bar); outline-offset: 2px; }
.kd-explorable .kd-live .kd-part-loss-chances .kd-keys, .kd-explorable .kd-live .kd-part-loss-gradient .kd-keys { color: inherit; }
.kd-explorable .kd-live .kd-part-loss-chances .kd-key svg { width: 12px; height: 12px; }
.kd-explorable .kd-live .kd-part-loss-gradient .kd-note { margin-top: 2px; }
.kd-explorable .kd-live .kd-swatch-mark { width: 2px; height: 14px; background: currentColor; }
.kd-explorable .kd-live .kd-sums { display: grid; grid-template-columns: auto 1fr; gap: 2px 14px; margin: 8px 0 6px; }
.kd-explorable .kd-live .kd-figures { display: grid; grid-template-columns: 1fr 1fr; gap: 4px 18px; margin-top: 10px; }
.kd-explorable .kd-live .kd-figures div { display: flex; flex-direction: column; }
.kd-explorable .kd-live .kd-figures span { color: var(--kd-muted); font-size: 12px; }
.kd-explorable .kd-live .kd-figure { font-size: 20px; font-weight: 700; line-height: 1.3; }
.kd-explorable .kd-live .kd-numbers { margin-top: 8px; }
.kd-explorable .kd-live .kd-numbers summary { cursor: pointer; width: fit-content; }
.kd-explorable .kd-live .kd-numbers summary:focus-visible { outline: 3px solid var(--kd-bar); outline-offset: 2px; }
.kd-explorable .kd-live .kd-scroll { overflow-x: auto; margin-top: 6px; }
.kd-explorable .kd-live .kd-numbers table { border-collapse: collapse; font-size: 12px; color: inherit; background: none; }
.kd-explorable .kd-live .kd-numbers th, .kd-explorable .kd-live .kd-numbers td {
  padding: 3px 9px; text-align: right; white-space: nowrap; background: none; color: inherit; }
.kd-explorable .kd-live .kd-numbers th { font-weight: 600; }
.kd-explorable .kd-live .kd-numbers tbody tr:last-child { border-top: 1px solid var(--kd-muted); }
@container (max-width: 700px) {
  .kd-explorable .kd-live .kd-part-loss-chances, .kd-explorable .kd-live .kd-part-loss-gradient { grid-column: 1 / -1; }
}
`,
};
