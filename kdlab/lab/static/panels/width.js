/* The width panel: what the width of a student's hidden layer buys, and what it costs.
 * explorables.js says how this file gets into a page; the twin is kdlab/lab/twins.py. */

/** What a student with one hidden layer costs. Twin: width_state in twins.py. */
function widthState(width, { inputs, classes, teacher }) {
  const parameters = inputs * width + width + width * classes + classes;
  const macs = inputs * width + width * classes;
  return {
    width,
    parameters,
    bytes: 4 * parameters, // float32
    macs,
    fewerParameters: teacher.parameters / parameters,
    fewerMacs: teacher.macs / macs,
  };
}

/** 1210 as "1,210". */
function countText(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** "6.8\u00d7" below ten, "1,124\u00d7" above. */
function ratioText(ratio) {
  const text = ratio < 9.95 ? (Math.round(10 * ratio) / 10).toFixed(1) : countText(Math.round(ratio));
  return `${text}\u00d7`;
}

/** The sentence under the width panel; twin: WidthState.summary. */
function widthSummary(state, { accuracies, speedups, teacher }, step) {
  const times = speedups.map(({ name, values }) => `${ratioText(values[step])} faster on ${name}`).join(", ");
  return `width ${state.width}: ${countText(state.parameters)} parameters, ${countText(state.bytes)} bytes, `
    + `${countText(state.macs)} MACs, ${percentText(accuracies[step])} right (the teacher: `
    + `${percentText(teacher.accuracy)}); against the teacher ${ratioText(state.fewerParameters)} fewer parameters, `
    + `${ratioText(state.fewerMacs)} fewer MACs, ${times}`;
}

/**
 * What the width of a student's hidden layer buys, and what it costs.
 * data: widths, inputs, classes, teacher {parameters, macs, accuracy}, accuracies[widths],
 *       speedups [{name, values[widths]}], decades (end of the log axis), step (the default width).
 */
function widthPanel(form, data) {
  const { widths, inputs, classes, teacher, accuracies, speedups } = data;
  const states = widths.map((width) => widthState(width, data));
  const state = { step: data.step };
  const measured = speedups.map(({ name }) => `time, ${name}`);
  const names = ["parameters", "bytes", "MACs", ...measured];
  const savings = (step) => [states[step].fewerParameters, states[step].fewerParameters, states[step].fewerMacs,
    ...speedups.map(({ values }) => values[step])];

  const slider = stepSlider({
    label: "Width h of the hidden layer",
    steps: widths,
    text: (width) => `h = ${width}`,
    landmarks: Object.fromEntries(widths.map((width) => [width, ""])),
    changed(index) { state.step = index; draw(); },
  });
  const reset = element("button", { type: "button", class: "kd-reset" }, "Reset");
  reset.addEventListener("click", () => {
    state.step = data.step;
    draw();
  });

  const sums = part("sums", "What it costs: arithmetic");
  const lines = ["parameters", "bytes", "MACs"].map((name) => {
    const sum = element("span", { class: "kd-sum" });
    sums.canvas.append(element("div", { class: "kd-sum-name" }, name), sum);
    return sum;
  });

  const start = widths[data.step];
  const saved = part("saved", "How many times less than the teacher",
    element("div", { class: "kd-keys" }, keyEntry("bar", "at h"), keyEntry("outline", `at h = ${start}`), "log scale"));
  const savedChart = barChart(saved.canvas, {
    count: names.length, domain: [0, data.decades], ticks: Array.from({ length: data.decades + 1 }, (_, i) => i),
    reference: "outline", nameWidth: 16 + 6.6 * Math.max(...names.map((name) => name.length)), numberWidth: 58,
    rowHeight: 28, nameLength: 24, tickText: (tick) => (tick < 3 ? `${10 ** tick}\u00d7` : `${10 ** (tick - 3)}k\u00d7`),
  });

  const skill = part("skill", "");
  const skillChart = curveChart(skill.canvas, {
    xDomain: [states[0].parameters, teacher.parameters],
    xTicks: [100, 1000, 10000, 100000].filter((tick) => tick < teacher.parameters),
    xText: countText,
    yDomain: [0, 1.15],
    yTicks: [0, 0.25, 0.5, 0.75],
    yText: (tick) => `${100 * tick} %`,
    left: 44,
    ceiling: teacher.accuracy,
    ceilingText: `teacher: ${percentText(teacher.accuracy)}`,
    xTitle: "parameters, log scale; the teacher\u2019s at the right edge",
    points: widths.length,
  });

  const line = element("output", { class: "kd-summary", "aria-live": "polite" });
  form.append(
    element("div", { class: "kd-controls" }, slider.node, reset),
    element("div", { class: "kd-parts" }, sums.node, saved.node, skill.node),
    line);

  function draw() {
    const now = states[state.step];
    const { width: h } = now;
    const accuracy = accuracies[state.step];
    slider.set(state.step);
    const terms = [
      [`${inputs} \u00d7 ${h} + ${h} + ${h} \u00d7 ${classes} + ${classes}`, now.parameters],
      [`4 \u00d7 ${countText(now.parameters)}`, now.bytes],
      [`${inputs} \u00d7 ${h} + ${h} \u00d7 ${classes}`, now.macs],
    ];
    terms.forEach(([sum, result], index) => {
      lines[index].replaceChildren(`${sum} = `, element("b", { "data-value": result }, countText(result)));
    });
    const values = savings(state.step);
    const before = savings(data.step);
    savedChart.update({
      name: `Times less than the teacher at h = ${h}: ` + names.map((name, i) => `${name} ${ratioText(values[i])}`).join(", "),
      items: names.map((name, i) => ({
        name, value: Math.log10(values[i]), reference: Math.log10(before[i]), text: ratioText(values[i]),
        data: { ratio: values[i], reference: before[i] },
      })),
    });
    skill.heading.textContent = `Accuracy ${percentText(accuracy)} with ${countText(now.parameters)} parameters`;
    skillChart.update({
      name: `Accuracy against parameters on a log axis, rising towards the teacher's ${percentText(teacher.accuracy)}; `
        + `${percentText(accuracy)} at h = ${h}`,
      curve: states.map(({ parameters }, i) => [parameters, accuracies[i]]), newCurve: true,
      at: [now.parameters, accuracy],
      data: { parameters: now.parameters, accuracy },
    });
    line.textContent = widthSummary(now, data, state.step);
  }

  draw();
}

const PANEL = {
  name: "width",
  make: widthPanel,
  style: `
.kd-explorable .kd-live .kd-part-sums { grid-column: 1 / -1; }
.kd-explorable .kd-live .kd-part-sums .kd-canvas { display: grid; grid-template-columns: auto 1fr; gap: 2px 18px; }
`,
};
