/* The seeds panel: how many seeds a claim needs.
 * explorables.js says how this file gets into a page; the twin is kdlab/lab/seeds_twin.py. */

/** What the first `count` pairs of scores say, in points. Twin: seeds_state in seeds_twin.py. */
function seedsState(scores, base, count, quantiles) {
  const [arm, other] = [scores, base].map((values) => values.slice(0, count).map((value) => 100 * value));
  const differences = arm.map((value, i) => value - other[i]);
  const mean = average(differences);
  const around = (half) => (count < 2 ? null : [mean - half, mean + half]);
  return {
    count, differences, mean,
    paired: around(quantiles[count - 1] * Math.sqrt(variance(differences) / count)),
    unpaired: around(quantiles[2 * count - 2] * Math.sqrt((variance(arm) + variance(other)) / count)),
  };
}

function average(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function variance(values) {
  const mean = average(values);
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
}

/** A difference in points: its sign always, one decimal. */
function pointsText(value) {
  const text = fixedText(value, 1);
  return text === "0.0" || text[0] === "\u2212" ? text : `+${text}`;
}

function intervalText([low, high]) {
  return `${pointsText(low)} to ${pointsText(high)}`;
}

/** The sentence under the panel; twin: SeedsState.summary. */
function seedsSummary({ count, differences, mean, paired, unpaired }) {
  if (!paired) return `1 seed: difference ${pointsText(mean)} points; a single pair has no interval`;
  const zero = ([low, high]) => (low <= 0 && high >= 0 ? "which holds zero" : "which excludes zero");
  return `${count} seeds: mean difference ${pointsText(mean)} points; paired interval ${intervalText(paired)}, `
    + `${zero(paired)}; as if unpaired ${intervalText(unpaired)}, ${zero(unpaired)}; `
    + `single seeds from ${pointsText(Math.min(...differences))} to ${pointsText(Math.max(...differences))}`;
}

/**
 * How many seeds a claim needs.
 * data: baseline, base[N], arms[n], scores[n][N], axes[n] of {domain, ticks}, quantiles[degrees of freedom],
 *       arm and step (the default state; step 0 is one seed).
 */
function seedsPanel(form, data) {
  const { baseline, base, arms, scores, axes, quantiles } = data;
  const total = base.length;
  const state = { case: data.arm, step: data.step };
  let drawnCase = null;

  const picker = casePicker({
    cases: arms, legend: `Compare with ${baseline}`, changed(index) { state.case = index; draw(); },
  });
  const slider = stepSlider({
    label: "Seeds that you wait for",
    steps: base.map((_, index) => index + 1),
    text: (count) => (count === 1 ? "1 seed" : `${count} seeds`),
    landmarks: Object.fromEntries(base.map((_, index) => [index + 1, ""])),
    changed(index) { state.step = index; draw(); },
  });
  const reset = element("button", { type: "button", class: "kd-reset" }, "Reset");
  reset.addEventListener("click", () => {
    Object.assign(state, { case: data.arm, step: data.step });
    draw();
  });

  const rowHeight = 22;
  const single = part("seeds-single", `Each seed: points above ${baseline}`,
    element("div", { class: "kd-keys" }, keyEntry("bar", "counted"), keyEntry("pale", "not yet")));
  const singleChart = laneChart(single.canvas, {
    count: total, rowHeight, nameWidth: 58, numbers: [{ title: "", width: 50 }],
    lanes: [{ kind: "pale", top: -7, height: 14 }, { kind: "student", top: -7, height: 14 }],
  });
  const together = part("seeds-together", "",
    element("div", { class: "kd-note" }, "A bar is a 95 % interval for the mean, the mark in it the mean. Unpaired, "
      + "what makes one seed harder than another for both arms counts as noise; paired, it cancels."));
  const togetherChart = laneChart(together.canvas, {
    count: 2, rowHeight: 52, nameWidth: 100, nameLength: 14, numbers: [{ title: "", width: 112 }],
    lanes: [
      { kind: "student", top: -9, height: 18 }, { kind: "soft", top: -9, height: 18 },
      { kind: "plain", top: -15, height: 30, mark: true },
    ],
  });
  const line = element("output", { class: "kd-summary", "aria-live": "polite" });
  form.append(
    element("div", { class: "kd-controls" }, ...(arms.length > 1 ? [picker.node] : []), slider.node, reset),
    element("div", { class: "kd-parts" }, single.node, together.node),
    line);

  function draw() {
    if (drawnCase !== state.case) for (const chart of [singleChart, togetherChart]) chart.setAxis(axes[state.case]);
    drawnCase = state.case;
    const now = seedsState(scores[state.case], base, state.step + 1, quantiles);
    const { differences } = seedsState(scores[state.case], base, total, quantiles);
    picker.set(state.case);
    slider.set(state.step);
    singleChart.update({
      name: `Difference of each seed in points: ${differences.slice(0, now.count).map(pointsText).join(", ")}`,
      items: differences.map((value, i) => {
        const counted = i < now.count;
        return {
          name: `seed ${i}`, spans: counted ? [null, [0, value]] : [[0, value], null],
          numbers: [counted ? pointsText(value) : ""], data: { difference: value, counted },
        };
      }),
    });
    together.heading.textContent = now.count === 1
      ? `1 seed: ${pointsText(now.mean)} points` : `Mean of ${now.count} seeds: ${pointsText(now.mean)} points`;
    const row = (name, interval, lane) => ({
      name, spans: [lane === 0 ? interval : null, lane === 1 ? interval : null, [0, now.mean]],
      numbers: [interval ? intervalText(interval) : "no interval"],
      data: { mean: now.mean, low: interval ? interval[0] : "", high: interval ? interval[1] : "" },
    });
    togetherChart.update({
      name: `Intervals in points. ${seedsSummary(now)}`,
      items: [row("paired", now.paired, 0), row("as if unpaired", now.unpaired, 1)],
    });
    line.textContent = seedsSummary(now);
  }

  draw();
}

const PANEL = {
  name: "seeds",
  make: seedsPanel,
  style: `
.kd-explorable .kd-live .kd-part-seeds-together .kd-note { margin-top: 10px; }
`,
};
