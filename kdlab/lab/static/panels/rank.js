/* The rank panel: a layer's matrix cut to rank r, what is lost, what it costs and what it saves.
 * It is given W and left singular vectors: both kinds of factors are projections of W on the first r of these, and every
 * error is a sum over the components that are dropped. explorables.js says how this file gets into a page; the twin,
 * which truncates, whitens and takes differences, is kdlab/lab/rank_twin.py. */

// ---- arithmetic

/** Rows u_k^T W of one kind, beside the vectors u_k: the r-th cut is the sum over the first r of u_k times its row. */
function rankFactors({ left, unit, spectrum }, weight, rows, columns) {
  const vectors = Float64Array.from(left, (value) => value * unit); // one after the other
  const made = new Float64Array(spectrum.length * columns);
  for (let k = 0; k < spectrum.length; k += 1) {
    for (let i = 0; i < rows; i += 1) {
      const u = vectors[k * rows + i];
      for (let j = 0; j < columns; j += 1) made[k * columns + j] += u * weight[i * columns + j];
    }
  }
  return { vectors, made };
}

/** W_r, row by row, from the first `rank` pairs of factors. */
function reconstruct({ vectors, made }, rank, rows, columns, into) {
  into.fill(0);
  for (let i = 0; i < rows; i += 1) {
    for (let k = 0; k < rank; k += 1) {
      const u = vectors[k * rows + i];
      for (let j = 0; j < columns; j += 1) into[i * columns + j] += u * made[k * columns + j];
    }
  }
  return into;
}

/** The relative error that dropping all shares from the r-th on leaves; from the smallest, so that nothing cancels. */
function droppedError(shares, rank) {
  let sum = 0;
  for (let k = shares.length - 1; k >= rank; k -= 1) sum += shares[k];
  return Math.sqrt(sum);
}

/** Everything that follows from a rank and a kind by arithmetic. Twin: rank_state in rank_twin.py. */
function rankState(rank, kind, { rows, columns, kinds }) {
  const { spectrum, weightShares } = kinds[kind];
  const squares = spectrum.map((value) => value ** 2);
  const total = squares.reduce((sum, square) => sum + square, 0);
  return {
    rank,
    kind: kinds[kind].name,
    parameters: rank * (rows + columns),
    dense: rows * columns,
    energy: 1 - droppedError(squares, rank) ** 2 / total,
    weightError: droppedError(weightShares, rank),
    outputErrors: kinds.filter(({ outputShares }) => outputShares)
      .map(({ name, outputShares }) => ({ name, error: droppedError(outputShares, rank) })),
  };
}

// ---- words

/** 1210 as "1,210". */
function countText(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** The sentence under the panel; twin: RankState.summary. */
function rankSummary(state, accuracy, denseAccuracy) {
  const outputs = state.outputErrors.map(({ name, error }) => `${name} ${percentText(error)}`).join(", ");
  return `rank ${state.rank}, ${state.kind}: ${countText(state.parameters)} parameters, `
    + `${percentText(state.parameters / state.dense)} of the dense ${countText(state.dense)}`
    + `${state.parameters > state.dense ? ", so more than without" : ""}; relative error of the weights `
    + `${percentText(state.weightError)}${outputs ? `, of the outputs ${outputs}` : ""}; `
    + `${percentText(accuracy)} right (dense: ${percentText(denseAccuracy)})`;
}

// ---- charts

/** Singular values over the largest one on a log axis of so many decades: kept ones filled, dropped ones hollow. */
function spectrumChart(host, { count, decades }) {
  const [height, left, top] = [206, 40, 10];
  const bottom = height - 40;
  const svg = shape("svg", { role: "img", height, class: "kd-rank-spectrum" });
  const add = (tag, attributes, ...children) => svg.appendChild(shape(tag, attributes, ...children));
  const y = linear([0, -decades], [top, bottom]);
  const fine = decades < 3 ? [1, 2, 5] : [1];
  const ticks = Array.from({ length: decades }, (_, d) => fine.map((step) => step * 10 ** (-d - 1))).flat().concat(1);
  const grid = ticks.map((tick) => {
    const at = y(Math.log10(tick));
    add("text", { class: "kd-tick", x: left - 7, y: at, dy: "0.36em", "text-anchor": "end" }, String(Number(tick.toPrecision(1))));
    return add("line", { class: "kd-grid", x1: left, y1: at, y2: at });
  });
  const every = Math.ceil(count / 8);
  const numbers = Array.from({ length: count }, (_, k) => k).filter((k) => k === 0 || (k + 1) % every === 0)
    .filter((k, i, all) => i === 0 || k - all[0] >= 2 || count < 12);
  const names = numbers.map((k) => add("text", { class: "kd-tick", y: bottom + 19, "text-anchor": "middle" }, String(k + 1)));
  const title = add("text", { class: "kd-tick", y: height - 4, "text-anchor": "middle" }, "singular value number k");
  const border = add("line", { class: "kd-guide", y1: top - 6, y2: bottom + 4 });
  const dots = Array.from({ length: count }, () => add("circle", { class: "kd-rank-value" }));
  host.append(svg);
  let x = null;
  let last = null;

  function layout(width) {
    x = linear([0.5, count + 0.5], [left + 6, width - 4]);
    set(svg, { viewBox: `0 0 ${width} ${height}` });
    for (const line of grid) line.setAttribute("x2", width);
    numbers.forEach((k, i) => names[i].setAttribute("x", x(k + 1)));
    title.setAttribute("x", (left + width) / 2);
    dots.forEach((dot, k) => set(dot, { cx: x(k + 1), r: Math.min(5, 0.4 * (x(2) - x(1))) }));
    if (last) update(last);
  }

  function update(state) {
    last = state;
    svg.setAttribute("aria-label", state.name);
    dots.forEach((dot, k) => {
      const share = state.spectrum[k] / state.spectrum[0];
      dot.setAttribute("cy", y(Math.max(-decades, share > 0 ? Math.log10(share) : -Infinity)));
      dot.classList.toggle("kd-rank-dropped", k >= state.rank);
      dot.dataset.value = state.spectrum[k];
    });
    set(border, { x1: x(state.rank + 0.5), x2: x(state.rank + 0.5) });
  }

  onWidth(host, layout);
  return { update };
}

const MARKS = ["M-4,0A4,4 0 1 1 4,0A4,4 0 1 1 -4,0Z", "M-3.7,-3.7H3.7V3.7H-3.7Z", "M0,-5L4.8,3.6H-4.8Z"];

/** Share right over rank on a log axis, a line for each way to make the factors; beyond break-even the ground is grey. */
function accuracyChart(host, { ranks, series, dense, lowest, even }) {
  const [height, left, top] = [206, 44, 24];
  const bottom = height - 40;
  const svg = shape("svg", { role: "img", height, class: "kd-rank-lines" });
  const add = (tag, attributes, ...children) => svg.appendChild(shape(tag, attributes, ...children));
  const beyond = even < ranks.at(-1);
  const ground = add("rect", { class: "kd-rank-beyond", y: top - 4, height: bottom - top + 4, visibility: beyond ? "visible" : "hidden" });
  const warning = add("text", { class: "kd-tick", y: 12, "text-anchor": "end" }, beyond ? "grey: larger than dense" : "");
  const y = linear([lowest, 1], [bottom, top]);
  const step = lowest < 0.45 ? 0.2 : lowest < 0.75 ? 0.1 : 0.05;
  const grid = Array.from({ length: 12 }, (_, i) => 1 - i * step).filter((tick) => tick > lowest - 1e-9).map((tick) => {
    add("text", { class: "kd-tick", x: left - 7, y: y(tick), dy: "0.36em", "text-anchor": "end" }, `${Math.round(100 * tick)} %`);
    return add("line", { class: "kd-grid", x1: left, y1: y(tick), y2: y(tick) });
  });
  const whole = add("line", { class: "kd-ceiling", x1: left, y1: y(dense), y2: y(dense) });
  const title = add("text", { class: "kd-tick", y: height - 4, "text-anchor": "middle" }, "rank r, log scale");
  const names = ranks.map((rank) => add("text", { class: "kd-tick", y: bottom + 19, "text-anchor": "middle" }, String(rank)));
  const drop = add("line", { class: "kd-drop", y1: top - 4, y2: bottom + 4 });
  const lines = series.map((_, i) => add("path", { class: `kd-rank-line kd-rank-series-${i}` }));
  const marks = series.map(({ values }, i) => values.map(() => add("path", { class: `kd-rank-mark kd-rank-series-${i}`, d: MARKS[i] })));
  const now = series.map((_, i) => add("path", { class: `kd-rank-now kd-rank-series-${i}`, d: MARKS[i] }));
  const ring = add("circle", { class: "kd-rank-ring", r: 10 });
  host.append(svg);
  let x = null;
  let last = null;

  function layout(width) {
    const logs = linear([ranks[0], ranks.at(-1)].map(Math.log), [left + 10, width - 12]);
    x = (rank) => logs(Math.log(rank));
    set(svg, { viewBox: `0 0 ${width} ${height}` });
    for (const line of [...grid, whole]) line.setAttribute("x2", width);
    if (beyond) set(ground, { x: Math.max(left, x(even)), width: width - Math.max(left, x(even)) });
    set(warning, { x: width });
    title.setAttribute("x", (left + width) / 2);
    let free = Infinity;
    for (let i = ranks.length - 1; i >= 0; i -= 1) { // the last rank has its number, others where there is room
      const room = x(ranks[i]) < free && (i === 0 || x(ranks[i]) - x(ranks[0]) > 18);
      set(names[i], { x: x(ranks[i]), visibility: room ? "visible" : "hidden" });
      if (room) free = x(ranks[i]) - 22;
    }
    series.forEach(({ values }, i) => {
      const points = values.map((value, at) => `${x(ranks[at]).toFixed(2)},${y(value).toFixed(2)}`);
      lines[i].setAttribute("d", `M${points.join(" L")}`);
      marks[i].forEach((mark, at) => mark.setAttribute("transform", `translate(${points[at]})`));
    });
    if (last) update(last);
  }

  function update(state) {
    last = state;
    const { step: at, chosen } = state;
    svg.setAttribute("aria-label", state.name);
    set(drop, { x1: x(ranks[at]), x2: x(ranks[at]) });
    now.forEach((mark, i) => {
      mark.setAttribute("transform", `translate(${x(ranks[at])},${y(series[i].values[at])}) scale(1.5)`);
      mark.dataset.accuracy = series[i].values[at];
    });
    set(ring, { cx: x(ranks[at]), cy: y(series[chosen].values[at]) });
  }

  onWidth(host, layout);
  return { update };
}

/** A line of the legend: the sign of a series and its words, which `set` changes. */
function seriesKey(index) {
  const words = element("span");
  const line = index === null ? shape("line", { class: "kd-ceiling", x1: 0, x2: 28 })
    : shape("g", {}, shape("path", { class: `kd-rank-line kd-rank-series-${index}`, d: "M0,0H28" }),
      shape("path", { class: `kd-rank-mark kd-rank-series-${index}`, d: MARKS[index], transform: "translate(14 0)" }));
  const node = element("span", { class: "kd-key" },
    shape("svg", { class: "kd-rank-key", viewBox: "0 -6 28 12", "aria-hidden": "true" }, line), words);
  return { node, set(text) { words.textContent = text; } };
}

/** A matrix as pixels: the hue is the sign, the depth the size. */
function heatMap(host, { rows, columns }) {
  const canvas = element("canvas", { width: columns, height: rows, role: "img", class: "kd-rank-map" });
  const context = canvas.getContext("2d");
  const picture = context.createImageData(columns, rows);
  host.append(canvas);

  onWidth(host, (width) => { canvas.style.height = `${clamp((width * rows) / columns, [110, 200])}px`; });

  return {
    /** Full colour at `scale`; `colors` are those of minus and of plus, as bytes. */
    update(values, scale, colors, name) {
      canvas.setAttribute("aria-label", name);
      canvas.kdValues = values; // for the test, which compares them with the twin's
      values.forEach((value, at) => {
        picture.data.set(colors[value < 0 ? 0 : 1], 4 * at);
        picture.data[4 * at + 3] = Math.round(255 * Math.min(1, Math.abs(value) / scale));
      });
      context.putImageData(picture, 0, 0);
    },
  };
}

// ---- the panel

/**
 * What a low rank costs and saves.
 * data: rows, columns, weight {unit, values[rows * columns]}, ranks, step (the default rank),
 *       kinds[] {name, spectrum[k], weightShares[k], outputShares[k]|null, left[k * rows], unit},
 *       accuracies[] {name, values[ranks]} (the kinds first), denseAccuracy, lowest (end of that axis),
 *       speedups[] {name, values[ranks]}, decades (of the spectrum's axis).
 */
function rankPanel(form, data) {
  const { rows, columns, ranks, kinds, accuracies, speedups, denseAccuracy } = data;
  const weight = Float64Array.from(data.weight.values, (value) => value * data.weight.unit);
  const full = weight.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const factors = kinds.map((kind) => rankFactors(kind, weight, rows, columns));
  const [cut, lost] = [new Float64Array(weight.length), new Float64Array(weight.length)];
  const even = (rows * columns) / (rows + columns);
  const state = { step: data.step, kind: 0 };
  let colors = null;

  const every = Math.ceil(ranks.length / 10);
  const slider = stepSlider({
    label: "Rank r of the layer", steps: ranks, text: (rank) => `r = ${rank}`,
    landmarks: Object.fromEntries(ranks.filter((_, i) => (ranks.length - 1 - i) % every === 0).map((rank) => [rank, ""])),
    changed(index) { state.step = index; draw(); },
  });
  const picker = casePicker({
    cases: kinds.map(({ name }) => name), legend: "Factors", changed(index) { state.kind = index; draw(); },
  });
  const reset = element("button", { type: "button", class: "kd-reset" }, "Reset");
  reset.addEventListener("click", () => { Object.assign(state, { step: data.step, kind: 0 }); draw(); });

  const spectrum = part("rank-spectrum", "", element("div", { class: "kd-keys" },
    keyEntry("rank-kept", "kept"), keyEntry("rank-dropped", "dropped"), "over the largest, log scale"));
  const meaning = element("div", { class: "kd-note" });
  spectrum.node.append(meaning);
  const spectrumOf = spectrumChart(spectrum.canvas, { count: kinds[0].spectrum.length, decades: data.decades });

  const keys = accuracies.map((_, i) => seriesKey(i));
  const denseKey = seriesKey(null);
  denseKey.set(`dense ${percentText(denseAccuracy)}`);
  const skill = part("rank-skill", "", element("div", { class: "kd-keys" }, ...[...keys, denseKey].map(({ node }) => node)));
  const skillOf = accuracyChart(skill.canvas, { ranks, series: accuracies, dense: denseAccuracy, lowest: data.lowest, even });

  const maps = part("rank-maps", "", element("div", { class: "kd-keys" },
    element("span", { class: "kd-key" }, fixedText(-full, 2), element("span", { class: "kd-rank-scale" }), `+${fixedText(full, 2)}`),
    "one colour scale for all three"));
  const blocks = ["W", "W_r", "lost"].map(() => {
    const [title, canvas] = [element("div", { class: "kd-note" }), element("div", { class: "kd-canvas" })];
    maps.canvas.append(element("div", {}, title, canvas));
    return { title, map: heatMap(canvas, data) };
  });

  const bars = (name, names, most, note) => {
    const node = part(name, "", element("div", { class: "kd-keys" }, keyEntry("bar", "at this rank"), keyEntry("pale", "dense"), note));
    const end = Math.max(1.2, most);
    const tick = [0.5, 1, 2, 5, 10, 20, 50, 100, 200].find((step) => end / step <= 5) || 500;
    return { ...node, chart: barChart(node.canvas, {
      count: names.length, domain: [0, end], ticks: Array.from({ length: Math.floor(end / tick) + 1 }, (_, i) => i * tick),
      reference: "pale", guide: 1, numberWidth: 62, rowHeight: 28,
      nameWidth: 14 + 7.6 * Math.min(20, Math.max(...names.map(({ length }) => length))), nameLength: 20, tickText: (at) => `${at}\u00d7`,
    }) };
  };
  const size = bars("rank-size", ["parameters"], (ranks.at(-1) * (rows + columns)) / (rows * columns),
    `break-even at rank ${fixedText(even, 1)}: above it low rank is larger`);
  const speed = bars("rank-speed", speedups.map(({ name }) => name), Math.max(...speedups.flatMap(({ values }) => values)), "below 1\u00d7: slower");

  const line = element("output", { class: "kd-summary", "aria-live": "polite" });
  form.append(
    element("div", { class: "kd-controls" }, slider.node, reset, ...(kinds.length > 1 ? [picker.node] : [])),
    element("div", { class: "kd-parts" }, spectrum.node, skill.node, maps.node, size.node, speed.node),
    line);

  /** Colours of minus and plus in the page's theme, as bytes. */
  function readColors() {
    const style = getComputedStyle(form);
    colors = ["--kd-first", "--kd-bar"].map((name) => style.getPropertyValue(name).trim().match(/[0-9a-f]{2}/gi).map((hex) => parseInt(hex, 16)));
  }

  function draw() {
    const now = rankState(ranks[state.step], state.kind, data);
    const accuracy = accuracies[state.kind].values[state.step];
    slider.set(state.step);
    picker.set(state.kind);
    drawSpectrum(now);
    drawMaps(now);
    drawBars(now);
    skill.heading.textContent = `Accuracy ${percentText(accuracy)} at rank ${now.rank}, ${now.kind}`;
    const shares = accuracies.map(({ name, values }) => `${name} ${percentText(values[state.step])}`);
    shares.forEach((text, i) => keys[i].set(text));
    skillOf.update({ name: `Accuracy over rank; at rank ${now.rank}: ${shares.join(", ")}; dense ${percentText(denseAccuracy)}`,
      step: state.step, chosen: state.kind });
    Object.assign(line.dataset, { weight: now.weightError, outputs: now.outputErrors.map(({ error }) => error).join(" "), energy: now.energy });
    line.textContent = rankSummary(now, accuracy, denseAccuracy);
  }

  function drawSpectrum(now) {
    const values = kinds[state.kind].spectrum;
    const aware = state.kind > 0;
    const kept = `${now.rank} of ${values.length} kept, ${percentText(now.energy)} of the energy`;
    spectrum.heading.textContent = `Spectrum of ${aware ? "W\u221aC" : "W"}: ${kept}`;
    meaning.textContent = aware ? "\u221aC is C^(1/2), the root of the second moment of the layer\u2019s inputs: what the layer sees often weighs more."
      : "Of the weights alone: every input counts the same.";
    spectrumOf.update({ spectrum: values, rank: now.rank, name: `Singular values, largest first: ${kept}` });
  }

  function drawMaps(now) {
    reconstruct(factors[state.kind], now.rank, rows, columns, cut);
    for (let at = 0; at < cut.length; at += 1) lost[at] = weight[at] - cut[at];
    const share = percentText(now.weightError);
    maps.heading.textContent = `The matrix, its reconstruction, and what is lost: ${share} of its length`;
    const titles = [`W, ${rows} \u00d7 ${columns}`, `W at rank ${now.rank}, ${now.kind}`, "W less the reconstruction"];
    [weight, cut, lost].forEach((values, i) => {
      const most = values.reduce((top, value) => Math.max(top, Math.abs(value)), 0);
      blocks[i].title.textContent = titles[i];
      blocks[i].map.update(values, full, colors, `${titles[i]}: up to ${fixedText(most, 2)} in size`);
    });
  }

  function drawBars(now) {
    const ratio = now.parameters / now.dense;
    const item = (name, value, worse) => ({ name, value, reference: 1, text: `${fixedText(value, 2)}\u00d7`, top: worse, data: { ratio: value } });
    size.heading.textContent = `Parameters: ${now.rank} \u00d7 (${rows} + ${columns}) = ${countText(now.parameters)}, dense ${countText(now.dense)}`;
    size.chart.update({ name: `Parameters at rank ${now.rank} against dense: ${fixedText(ratio, 2)} times`, items: [item("parameters", ratio, ratio > 1)] });
    speed.heading.textContent = `Speed: dense time over the time at rank ${now.rank}`;
    const times = speedups.map(({ name, values }) => item(name, values[state.step], values[state.step] < 1));
    speed.chart.update({ name: `Speed at rank ${now.rank}, dense is 1: ${times.map(({ name, text }) => `${name} ${text}`).join(", ")}`, items: times });
  }

  readColors();
  draw();
  new MutationObserver(() => { readColors(); draw(); })
    .observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-theme"] });
}

const PANEL = {
  name: "rank",
  make: rankPanel,
  style: `
.kd-explorable .kd-live .kd-part-rank-maps { grid-column: 1 / -1; }
.kd-explorable .kd-live .kd-part-rank-maps > .kd-canvas { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 14px; }
.kd-explorable .kd-live .kd-rank-map { display: block; width: 100%; image-rendering: pixelated; outline: 1px solid var(--kd-soft); }
.kd-explorable .kd-live .kd-rank-scale { width: 120px; height: 10px; background: linear-gradient(to right, var(--kd-first), transparent, var(--kd-bar)); }
.kd-explorable .kd-live .kd-rank-value { fill: var(--kd-bar); stroke: var(--kd-bar); stroke-width: 1.5; }
.kd-explorable .kd-live .kd-rank-value.kd-rank-dropped { fill: none; }
.kd-explorable .kd-live .kd-swatch-rank-kept, .kd-explorable .kd-live .kd-swatch-rank-dropped { width: 10px; border-radius: 5px; border: 1.5px solid var(--kd-bar); }
.kd-explorable .kd-live .kd-swatch-rank-kept { background: var(--kd-bar); }
.kd-explorable .kd-live .kd-rank-beyond { fill: var(--kd-faint); }
.kd-explorable .kd-live .kd-rank-series-0 { --kd-series: var(--kd-bar); }
.kd-explorable .kd-live .kd-rank-series-1 { --kd-series: var(--kd-first); stroke-dasharray: 6 3; }
.kd-explorable .kd-live .kd-rank-series-2 { --kd-series: var(--kd-green); stroke-dasharray: 2 3; }
.kd-explorable .kd-live .kd-rank-line { fill: none; stroke: var(--kd-series); stroke-width: 2; }
.kd-explorable .kd-live .kd-rank-mark { fill: var(--kd-series); stroke: none; }
.kd-explorable .kd-live .kd-rank-now { fill: var(--kd-series); stroke: var(--jp-layout-color1, #fff); stroke-width: 0.8; stroke-dasharray: none; }
.kd-explorable .kd-live .kd-rank-ring { fill: none; stroke: currentColor; stroke-width: 1.5; }
.kd-explorable .kd-live .kd-rank-key { width: 28px; height: 12px; flex: none; }
.kd-explorable .kd-live .kd-part-rank-size .kd-sign, .kd-explorable .kd-live .kd-part-rank-speed .kd-sign { display: none; }
.kd-explorable .kd-live .kd-part-rank-spectrum .kd-note { font-size: 12px; min-height: 34px; }
@container (max-width: 700px) {
  .kd-explorable .kd-live .kd-part-rank-size, .kd-explorable .kd-live .kd-part-rank-speed { grid-column: 1 / -1; }
  .kd-explorable .kd-live .kd-part-rank-spectrum .kd-heading, .kd-explorable .kd-live .kd-part-rank-skill .kd-heading { min-height: 36px; }
}
@container (max-width: 560px) {
  .kd-explorable .kd-live .kd-part-rank-maps > .kd-canvas { grid-template-columns: minmax(0, 1fr); }
}
`,
};
