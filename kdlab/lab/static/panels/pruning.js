/* The pruning panel: which weights go at a sparsity, what is left of each layer, what that does to the accuracy, and how
 * large the file really is. Masks are computed here; accuracies, bytes and times were measured by the lesson.
 * explorables.js says how this file gets into a page; the twin is kdlab/lab/pruning_twin.py. */

// ---- arithmetic

/** The nearest whole number, halves to the even one: Python's round. */
function roundHalfEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  return rest < 0.5 || (rest === 0.5 && below % 2 === 0) ? below : below + 1;
}

/** Where each value of several layers stands among all of their magnitudes, ties by place; and the magnitudes in order. */
function ranked(layers) {
  const magnitudes = layers.flatMap(({ values }) => values.map(Math.abs));
  const order = magnitudes.map((_, at) => at).sort((a, b) => magnitudes[a] - magnitudes[b] || a - b);
  const ranks = new Int32Array(order.length);
  order.forEach((at, rank) => { ranks[at] = rank; });
  return { ranks, sorted: order.map((at) => magnitudes[at]) };
}

/** Both scopes' ranks, once: per layer its ranks, and the magnitudes of all that is ranked with it. */
function rankings(layers) {
  const all = ranked(layers);
  let start = 0;
  return {
    global: layers.map(({ values }) => {
      start += values.length;
      return { ranks: all.ranks.subarray(start - values.length, start), sorted: all.sorted };
    }),
    "per layer": layers.map((layer) => ranked([layer])),
  };
}

/** What is left at a sparsity: weight i of a layer stays if ranks[i] >= gone. Twin: pruning_state in pruning_twin.py. */
function pruningState(ranking, sparsity, unit) {
  return ranking.map(({ ranks, sorted }) => {
    const gone = roundHalfEven(sparsity * sorted.length);
    const left = ranks.reduce((count, rank) => count + (rank >= gone), 0);
    return { ranks, gone, left, size: ranks.length, threshold: gone ? sorted[gone - 1] / unit : null };
  });
}

/** Bins from -max to max: each weight's bin, and how many weights each bin holds. Twin: histogram. */
function binned(values) {
  const bins = values.length > 1000 ? 61 : 25;
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  const place = values.map((value) => Math.min(Math.floor(((value + largest) * bins) / (2 * largest)), bins - 1));
  const counts = new Array(bins).fill(0);
  for (const bin of place) counts[bin] += 1;
  return { place, counts, largest, most: Math.max(...counts) };
}

// ---- words

/** 1210 as "1,210". */
function countText(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, ",");
}

function thresholdText(threshold) {
  return threshold === null ? "nothing goes" : `t = ${fixedText(threshold, 4)}`;
}

function timesText(latency, step) {
  return latency.map(({ name, values }) => `${fixedText(values[step], 2)}\u00d7 on ${name}`).join(", ");
}

/** The sentence under the panel; twin: pruning_summary. */
function pruningSummary(now, { percent, scope, layer, step, accuracies, files, latency }) {
  const sum = (key) => countText(now.reduce((total, one) => total + one[key], 0));
  const { left, size, threshold } = now[layer.index];
  const right = accuracies.map(({ name, values }) => `${percentText(values[step])} ${name}`).join(", ");
  const dense = files.find(({ name }) => name === "dense").values[step];
  const bytes = files.map(({ name, values }) =>
    `${name} ${countText(values[step])}${values[step] > dense ? " (larger than dense)" : ""}`).join(", ");
  return `sparsity ${percent} %, ${scope}: ${sum("left")} of ${sum("size")} weights left, in ${layer.name} `
    + `${countText(left)} of ${countText(size)} (${thresholdText(threshold)}); right: ${right}; bytes of the file: ${bytes}`
    + (latency.length ? `; speed (dense is 1\u00d7): ${timesText(latency, step)}` : "");
}

// ---- parts

/** One layer's weights as a picture of cells; what is pruned is blank. `hues` are elements in the colours of plus and minus. */
function weightMap(host, hues) {
  const canvas = element("canvas", { class: "kd-weights", role: "img" });
  const small = document.createElement("canvas"); // a pixel for each weight
  let width = 300;
  let colours = [];
  let last = null;
  host.append(canvas);

  function draw() {
    const { rows, columns, values, full, ranks, gone } = last;
    const dense = window.devicePixelRatio || 1;
    const room = [(width * dense) / columns, (168 * dense) / rows];
    // Whole pixels for each weight; narrow ones are drawn too wide and shrunk with the picture, rather than left tiny.
    const cell = [room[0] < 4 ? Math.ceil(room[0]) : Math.floor(room[0]), Math.max(1, Math.floor(room[1]))];
    const [across, down] = [Math.min(cell[0], 3 * cell[1]), Math.min(cell[1], 3 * cell[0])];
    const size = [across * columns, down * rows];
    if (canvas.width !== size[0] || canvas.height !== size[1]) {
      [canvas.width, canvas.height] = size;
      [canvas.style.width, canvas.style.height] = size.map((side) => `${side / dense}px`);
    }
    [small.width, small.height] = [columns, rows];
    const pens = [small, canvas].map((one) => one.getContext("2d"));
    const pixels = pens[0].createImageData(columns, rows);
    values.forEach((value, at) => {
      if (ranks[at] < gone) return; // blank
      const colour = colours[value < 0 ? 1 : 0];
      for (let channel = 0; channel < 3; channel += 1) pixels.data[4 * at + channel] = colour[channel];
      // What stays is tinted even where it is nearly zero, so that blank means gone.
      pixels.data[4 * at + 3] = 255 * (0.16 + 0.84 * Math.min(1, Math.abs(value) / full));
    });
    pens[0].putImageData(pixels, 0, 0);
    pens[1].imageSmoothingEnabled = false;
    pens[1].clearRect(0, 0, ...size);
    pens[1].drawImage(small, 0, 0, ...size);
  }

  function restyle() {
    colours = hues.map((node) => (getComputedStyle(node).backgroundColor.match(/[\d.]+/g) || [128, 128, 128]).map(Number));
    if (last) draw();
  }

  onWidth(host, (newWidth) => { width = newWidth; restyle(); });
  // A canvas does not follow the page's theme by itself.
  new MutationObserver(restyle).observe(document.body, { attributeFilter: ["data-jp-theme-light", "data-theme"] });
  return {
    /** @param {{name, rows, columns, values, full, ranks, gone}} state full: the magnitude in full colour */
    update(state) {
      last = state;
      canvas.setAttribute("aria-label", state.name);
      draw();
    },
  };
}

/** How many weights have which value: what stays is filled, what goes is hollow, and lines stand at -t and t. */
function histogramChart(host, most) {
  const [top, bottom, height] = [20, 150, 188];
  const svg = shape("svg", { role: "img", height, class: "kd-histogram" });
  const add = (tag, attributes, ...children) => svg.appendChild(shape(tag, attributes, ...children));
  const bars = Array.from({ length: most }, () => ({ gone: add("rect", { class: "kd-gone" }), stays: add("rect", { class: "kd-bar" }) }));
  const axis = add("line", { class: "kd-axis", x1: 0, y1: bottom, y2: bottom });
  const ticks = [-1, 0, 1].map((side) => ({ side, text: add("text", { class: "kd-tick", y: bottom + 16,
    "text-anchor": ["start", "middle", "end"][side + 1] }) }));
  const title = add("text", { class: "kd-tick", y: height - 5, "text-anchor": "middle" });
  const limits = [-1, 1].map((side) => ({ side, line: add("line", { class: "kd-limit", y1: top - 4, y2: bottom }),
    text: add("text", { y: top - 8 }, side < 0 ? "\u2212t" : "t") }));
  host.append(svg);
  let width = 300;
  let last = null;

  function layout(newWidth) {
    width = newWidth;
    set(svg, { viewBox: `0 0 ${width} ${height}` });
    axis.setAttribute("x2", width);
    title.setAttribute("x", width / 2);
    for (const { side, text } of ticks) text.setAttribute("x", ((side + 1) * width) / 2);
    if (last) update(last);
  }

  /** @param {{name, counts, left, most, largest, threshold, places}} state counts and left: numbers for each bin */
  function update(state) {
    last = state;
    const { counts, left, largest, threshold } = state;
    const x = linear([-largest, largest], [0, width]);
    const y = linear([0, state.most], [bottom, top]);
    const step = width / counts.length;
    svg.setAttribute("aria-label", state.name);
    bars.forEach(({ gone, stays }, bin) => {
      const used = bin < counts.length;
      const [all, kept] = used ? [counts[bin], left[bin]] : [0, 0];
      const place = used ? { x: bin * step + 0.5, width: Math.max(1, step - 1) } : { x: 0, width: 0 };
      set(stays, { ...place, y: y(kept), height: bottom - y(kept), "data-count": used ? kept : "" });
      set(gone, { ...place, y: y(all), height: y(kept) - y(all), "data-count": used ? all - kept : "",
        visibility: all > kept ? "visible" : "hidden" });
    });
    title.textContent = `value of a weight; tallest bin: ${countText(state.most)}`;
    for (const { side, text } of ticks) text.textContent = side ? fixedText(side * largest, 2) : "0";
    const inside = threshold !== null && threshold < largest;
    svg.dataset.threshold = threshold === null ? "" : threshold;
    for (const { side, line, text } of limits) {
      const at = x(side * (inside ? threshold : 0));
      const outwards = (side < 0 ? at : width - at) > 24; // else the letter stands inside
      set(line, { x1: at, x2: at, visibility: inside ? "visible" : "hidden" });
      set(text, { x: at + (outwards ? 4 : -4) * side, "text-anchor": (side < 0) === outwards ? "end" : "start",
        visibility: inside ? "visible" : "hidden" });
    }
  }

  onWidth(host, layout);
  return { update };
}

/** Share right over sparsity, a line for each kind and a point on each. */
function accuracyChart(host, { sparsities, count }) {
  const [top, left, height] = [8, 44, 250];
  const bottom = height - 40;
  const y = linear([0, 1], [bottom, top]);
  const svg = shape("svg", { role: "img", height, class: "kd-curves" });
  const add = (tag, attributes, ...children) => svg.appendChild(shape(tag, attributes, ...children));
  const shares = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    add("text", { class: "kd-tick", x: left - 7, y: y(share), dy: "0.36em", "text-anchor": "end" }, `${100 * share} %`);
    return add("line", { class: share ? "kd-grid" : "kd-axis", x1: left, y1: y(share), y2: y(share) });
  });
  const marks = [0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99].map((share) => ({ share,
    line: add("line", { class: "kd-grid", y1: bottom, y2: bottom + 4 }),
    text: add("text", { class: "kd-tick", y: bottom + 17, "text-anchor": "middle" }, String(Math.round(100 * share))) }));
  const title = add("text", { class: "kd-tick", y: height - 5, "text-anchor": "middle" }, "sparsity in %, log scale of what is left");
  const drop = add("line", { class: "kd-drop", y1: top, y2: bottom });
  const lines = Array.from({ length: count }, (_, i) => add("path", { class: `kd-kind kd-kind-${i}` }));
  const dots = lines.map((_, i) => add("path", { class: `kd-point kd-point-${i}`, d: KIND_SIGNS[i] }));
  host.append(svg);
  let x = null;
  let last = null;

  function layout(width) {
    const logs = linear([0, Math.log(1 - sparsities.at(-1))], [left + 8, width - 12]);
    x = (sparsity) => logs(Math.log(1 - sparsity));
    set(svg, { viewBox: `0 0 ${width} ${height}` });
    title.setAttribute("x", (left + width) / 2);
    for (const line of shares) line.setAttribute("x2", width);
    for (const { share, line, text } of marks) {
      text.setAttribute("x", x(share));
      set(line, { x1: x(share), x2: x(share) });
    }
    if (last) update(last);
  }

  /** @param {{name, kinds: {values}[], step}} state */
  function update(state) {
    last = state;
    svg.setAttribute("aria-label", state.name);
    const at = x(sparsities[state.step]);
    set(drop, { x1: at, x2: at });
    state.kinds.forEach(({ values }, i) => {
      lines[i].setAttribute("d", `M${values.map((share, j) => `${x(sparsities[j]).toFixed(2)},${y(share).toFixed(2)}`).join(" L")}`);
      set(dots[i], { transform: `translate(${at} ${y(values[state.step])})`, "data-share": values[state.step] });
    });
  }

  onWidth(host, layout);
  return { update };
}

/** Circle, square and triangle: a kind is told by colour, dash and sign. */
const KIND_SIGNS = ["M-6,0A6,6 0 1 1 6,0A6,6 0 1 1 -6,0Z", "M-5.5,-5.5H5.5V5.5H-5.5Z", "M0,-7L7,5H-7Z"];

/** Words to choose from, in a group of their own. */
function wordPicker(name, legend, cases, changed) {
  const picker = casePicker({ cases, legend, changed });
  for (const input of picker.node.querySelectorAll("input")) input.name = name;
  return picker;
}

// ---- the panel

/**
 * Magnitude pruning, and what it buys.
 * data: sparsities[], unit, layers [{name, shape, rows, columns, full, values[rows * columns]}], scopes[],
 *       accuracies {scope: [{name, values[sparsities]}]}, files {the same, in bytes}, latency [{name, values[sparsities]}],
 *       start {step, scope, layer}. Weights are whole numbers: value * unit.
 */
function pruningPanel(form, data) {
  const { sparsities, unit, layers, scopes, accuracies, files, latency } = data;
  const percents = sparsities.map((sparsity) => Math.round(100 * sparsity));
  const ranking = rankings(layers);
  const bins = layers.map(({ values }) => binned(values));
  const kinds = accuracies[scopes[0]].map(({ name }) => name);
  const formats = files[scopes[0]].map(({ name }) => name);
  const state = { ...data.start };

  const slider = stepSlider({
    label: "Sparsity: share of weights that are zero",
    steps: percents,
    text: (percent) => `${percent} %`,
    landmarks: { [percents[0]]: "dense", 50: "", 90: "", [percents.at(-1)]: "" },
    changed(index) { state.step = index; draw(); },
  });
  const choose = (key) => (index) => { state[key] = index; draw(); };
  const pickers = {
    scope: wordPicker("scope", "Ranked", scopes, choose("scope")),
    layer: wordPicker("layer", "Layer to look at", layers.map(({ name }) => name), choose("layer")),
  };
  const reset = element("button", { type: "button", class: "kd-reset" }, "Reset");
  reset.addEventListener("click", () => { Object.assign(state, data.start); draw(); });

  const hues = ["plus", "minus"].map((kind) => keyEntry(kind, { plus: "positive", minus: "negative" }[kind]));
  const fullText = element("span");
  const weights = part("pruning-weights", "",
    element("div", { class: "kd-keys" }, ...hues, keyEntry("blank", "pruned: blank"), fullText));
  const map = weightMap(weights.canvas, hues.map((hue) => hue.firstChild));
  const values = part("pruning-values", "", element("div", { class: "kd-keys" }, keyEntry("bar", "stays"), keyEntry("hollow", "goes")));
  const chart = histogramChart(values.canvas, Math.max(...bins.map(({ counts }) => counts.length)));

  const nameWidth = (names) => 44 + 7 * Math.min(18, Math.max(...names.map((name) => name.length)));
  const left = part("pruning-left", "Left of each layer",
    element("div", { class: "kd-keys" }, keyEntry("outline", "of all layers together"), element("span", { class: "kd-key" }, sign("top"), "looked at")));
  const leftChart = barChart(left.canvas, {
    count: layers.length, domain: [0, 1], ticks: [0, 0.5, 1], reference: "outline", rowHeight: 26, nameLength: 18,
    nameWidth: nameWidth(layers.map(({ name }) => name)), numberWidth: 62, tickText: (tick) => `${100 * tick} %`,
  });

  const kindTexts = kinds.map(() => element("span"));
  const skill = part("pruning-skill", "Share right",
    element("div", { class: "kd-keys" }, ...kinds.map((_, i) => element("span", { class: "kd-key" }, shape("svg", {
      class: `kd-kind-key kd-point-${i}`, viewBox: "-15 -8 30 16", "aria-hidden": "true" }, shape("path", { class: `kd-kind kd-kind-${i}`, d: "M-15,0H15" }),
    shape("path", { class: "kd-point", d: KIND_SIGNS[i] })), kindTexts[i]))));
  const skillChart = accuracyChart(skill.canvas, { sparsities, count: kinds.length });

  const whole = files[scopes[0]].find(({ name }) => name === "dense").values[0];
  const most = Math.max(...scopes.flatMap((scope) => files[scope].flatMap((one) => one.values))) / whole;
  const every = most > 3 ? 1 : 0.5;
  const speed = element("div", { class: "kd-speed" });
  const sizes = part("pruning-files", "Bytes of the file that was written",
    element("div", { class: "kd-keys" }, keyEntry("outline", `unpruned: ${countText(whole)}`),
      element("span", { class: "kd-key" }, sign("top"), "larger than dense")), speed);
  const sizeChart = barChart(sizes.canvas, {
    count: formats.length, domain: [0, most], ticks: Array.from({ length: Math.floor(most / every) + 1 }, (_, i) => i * every),
    reference: "outline", rowHeight: 26, nameWidth: nameWidth(formats), numberWidth: 72, nameLength: 18, tickText: (tick) => `${tick}\u00d7`,
  });

  const line = element("output", { class: "kd-summary kd-pruning-line", "aria-live": "polite" });
  form.append(
    element("div", { class: "kd-controls" }, slider.node, reset, pickers.scope.node, pickers.layer.node),
    element("div", { class: "kd-parts kd-pruning-parts" }, weights.node, values.node, left.node, skill.node, sizes.node),
    line);

  function draw() {
    const { step } = state;
    const scope = scopes[state.scope];
    const now = pruningState(ranking[scope], sparsities[step], unit);
    slider.set(step);
    for (const [name, picker] of Object.entries(pickers)) picker.set(state[name]);
    drawLayer(layers[state.layer], bins[state.layer], now[state.layer]);
    drawLeft(now, scope);
    drawSkill(accuracies[scope], step);
    drawFiles(files[scope], step);
    line.textContent = pruningSummary(now, {
      percent: percents[step], scope, layer: { index: state.layer, name: layers[state.layer].name }, step,
      accuracies: accuracies[scope], files: files[scope], latency,
    });
  }

  function drawLayer(layer, { place, counts, largest, most: tallest }, { ranks, gone, left: stay, size, threshold }) {
    const words = `${countText(stay)} of ${countText(size)} weights left`;
    weights.heading.textContent = `${layer.name}, ${layer.shape}: ${words}`;
    fullText.textContent = `full colour from \u00b1${fixedText(layer.full / unit, 2)}`;
    map.update({ ...layer, ranks, gone, name: `Weights of ${layer.name}, a row for each output: ${words}, the others blank` });
    const left = new Array(counts.length).fill(0);
    place.forEach((bin, at) => { if (ranks[at] >= gone) left[bin] += 1; });
    values.heading.textContent = `Its weights by value: ${thresholdText(threshold)}`;
    chart.update({ counts, left, most: tallest, largest: largest / unit, threshold,
      name: `Histogram of the weights of ${layer.name} from ${fixedText(-largest / unit, 2)} to ${fixedText(largest / unit, 2)}: `
        + `${thresholdText(threshold)}, ${words}` });
  }

  function drawLeft(now, scope) {
    const total = now.reduce((sum, one) => sum + one.left, 0) / now.reduce((sum, one) => sum + one.size, 0);
    leftChart.update({
      name: `Weights left, ranked ${scope}: ${layers.map(({ name }, i) => `${name} ${percentText(now[i].left / now[i].size)}`).join(", ")}`,
      items: layers.map(({ name }, i) => ({
        name, value: now[i].left / now[i].size, reference: total, text: percentText(now[i].left / now[i].size), top: i === state.layer,
        data: { left: now[i].left, size: now[i].size, threshold: now[i].threshold ?? "" },
      })),
    });
  }

  function drawSkill(curves, step) {
    curves.forEach(({ name, values: shares }, i) => { kindTexts[i].textContent = `${name}: ${percentText(shares[step])}`; });
    skillChart.update({ kinds: curves, step,
      name: `Share right over sparsity; at ${percents[step]} %: ${curves.map(({ name, values: shares }) => `${name} ${percentText(shares[step])}`).join("; ")}` });
  }

  function drawFiles(written, step) {
    const dense = written.find(({ name }) => name === "dense").values[step];
    sizeChart.update({
      name: `Bytes of the file, unpruned ${countText(whole)}: ${written.map(({ name, values: bytes }) => `${name} ${countText(bytes[step])}`
        + (bytes[step] > dense ? ", larger than dense" : "")).join("; ")}`,
      items: written.map(({ name, values: bytes }) => ({
        name, value: bytes[step] / whole, reference: 1, text: countText(bytes[step]), top: bytes[step] > dense, data: { bytes: bytes[step] },
      })),
    });
    speed.textContent = latency.length ? `Speed (dense is 1\u00d7): ${timesText(latency, step)}` : "";
  }

  draw();
}

const PANEL = {
  name: "pruning",
  make: pruningPanel,
  style: `
.kd-explorable .kd-live .kd-part-pruning-weights { grid-column: span 15; }
.kd-explorable .kd-live .kd-part-pruning-values { grid-column: span 9; }
.kd-explorable .kd-live .kd-part-pruning-left { grid-column: 1 / span 12; }
.kd-explorable .kd-live .kd-part-pruning-skill { grid-column: 13 / -1; grid-row: 2 / span 2; }
.kd-explorable .kd-live .kd-part-pruning-files { grid-column: 1 / span 12; }
.kd-explorable .kd-live .kd-weights { display: block; max-width: 100%; outline: 1px solid var(--kd-soft); }
.kd-explorable .kd-live .kd-swatch-plus { background: var(--kd-bar); }
.kd-explorable .kd-live .kd-swatch-minus { background: var(--kd-first); }
.kd-explorable .kd-live .kd-swatch-blank, .kd-explorable .kd-live .kd-swatch-hollow { border: 1px solid var(--kd-muted); }
.kd-explorable .kd-live .kd-gone { fill: none; stroke: var(--kd-muted); stroke-width: 1; }
.kd-explorable .kd-live .kd-limit { stroke: var(--kd-first); stroke-width: 1.5; stroke-dasharray: 4 3; }
.kd-explorable .kd-live .kd-pruning-parts .kd-keys { margin-top: 6px; }
.kd-explorable .kd-live .kd-pruning-parts .kd-keys .kd-sign { width: 12px; height: 12px; }
.kd-explorable .kd-live .kd-kind-key { width: 30px; height: 16px; }
.kd-explorable .kd-live .kd-kind { fill: none; stroke-width: 2.5; }
.kd-explorable .kd-live .kd-kind-0 { stroke: var(--kd-bar); }
.kd-explorable .kd-live .kd-kind-1 { stroke: var(--kd-first); stroke-dasharray: 6 3; }
.kd-explorable .kd-live .kd-kind-2 { stroke: var(--kd-hard-part); stroke-dasharray: 2 3; }
.kd-explorable .kd-live .kd-point { stroke: var(--jp-layout-color1, #fff); stroke-width: 1.5; }
.kd-explorable .kd-live .kd-point-0 { fill: var(--kd-bar); }
.kd-explorable .kd-live .kd-point-1 { fill: var(--kd-first); }
.kd-explorable .kd-live .kd-point-2 { fill: var(--kd-hard-part); }
.kd-explorable .kd-live .kd-part-pruning-left .kd-is-top .kd-bar { fill: var(--kd-bar); }
.kd-explorable .kd-live .kd-part-pruning-left .kd-sign.kd-top { fill: currentColor; }
.kd-explorable .kd-live .kd-pruning-line { min-height: calc(4.2em + 11px); }
.kd-explorable .kd-live .kd-speed { margin-top: 8px; }
.kd-explorable .kd-live .kd-pruning-parts .kd-part-pruning-skill .kd-keys { flex-direction: column; }
@container (max-width: 700px) {
  .kd-explorable .kd-live .kd-part-pruning-weights, .kd-explorable .kd-live .kd-part-pruning-values { grid-column: 1 / -1; }
  .kd-explorable .kd-live .kd-part-pruning-skill { grid-row: 3 / span 2; }
}
@container (max-width: 560px) {
  .kd-explorable .kd-live .kd-part-pruning-skill { grid-row: auto; }
}
`,
};
