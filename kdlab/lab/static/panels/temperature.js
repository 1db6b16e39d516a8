/* The temperature panel: what temperature does to a teacher's answer.
 * explorables.js says how this file gets into a page; the twin is kdlab/lab/twins.py. */

/** What one row of logits says at temperature T. Twin: temperature_state in twins.py. */
function temperatureState(logits, temperature) {
  const scaled = logits.map((logit) => logit / temperature);
  const order = logits.map((_, k) => k).sort((a, b) => logits[b] - logits[a] || a - b);
  const probabilities = softmax(scaled);
  const ranking = order.slice(1); // everything but the top class; T does not enter
  return {
    temperature,
    scaled,
    probabilities,
    entropy: entropy(probabilities),
    maxEntropy: Math.log(logits.length),
    top: order[0],
    rest: ranking.reduce((sum, k) => sum + probabilities[k], 0), // 1 - p_top, without its loss of digits
    ranking,
    secondThoughts: softmax(ranking.map((k) => scaled[k])), // p_k / rest
  };
}

/** A true minus sign, and no "-0.0". */
function signedText(value) {
  return value.toFixed(1).replace(/^-0\.0$/, "0.0").replace("-", "\u2212");
}

/** A picture of squares: ink where the pixel is 1. */
function pixelChart(host, rows, columns) {
  const squares = [];
  const svg = shape("svg", { role: "img", viewBox: `0 0 ${columns} ${rows}`, class: "kd-pixels" });
  for (let y = 0; y < rows; y += 1) {
    for (let x = 0; x < columns; x += 1) {
      squares.push(svg.appendChild(shape("rect", { x, y, width: 1, height: 1 })));
    }
  }
  host.append(svg);
  return {
    update(pixels, name) {
      svg.setAttribute("aria-label", name);
      pixels.forEach((value, index) => squares[index].setAttribute("fill-opacity", value));
    },
  };
}

/** A row of thumbnails to choose from; calls `changed(index)`. */
function imagePicker({ images, rows, columns, names, captions, changed }) {
  // The radios' common name need not be unique on the page: the form around them separates groups.
  const inputs = images.map((pixels, index) => {
    const input = element("input", { type: "radio", name: "image", value: index, class: "kd-radio" });
    input.addEventListener("change", () => changed(index));
    return input;
  });
  const choices = images.map((pixels, index) => {
    const picture = element("span", { class: "kd-thumb", "aria-hidden": "true" });
    pixelChart(picture, rows, columns).update(pixels, "");
    const words = element("span", { class: "kd-hidden" }, names[index]);
    const caption = element("span", { class: "kd-caption", "aria-hidden": "true" }, captions[index]);
    return element("label", { title: names[index] }, inputs[index], picture, caption, words);
  });
  const node = element("fieldset", { class: "kd-picker" }, element("legend", {}, "Choose an image"), ...choices);
  return { node, set(index) { inputs[index].checked = true; } };
}

/** The sentence under the panel; twin: TemperatureState.summary. */
function summary(state, names) {
  const others = state.ranking.slice(0, 3).map((k, i) => `${names[k]} (${state.secondThoughts[i].toFixed(2)})`);
  return `T = ${state.temperature}: top class ${names[state.top]} with p = ${state.probabilities[state.top].toFixed(2)}; `
    + `entropy ${state.entropy.toFixed(2)} nats of at most ${state.maxEntropy.toFixed(2)}; `
    + `second thoughts ${others.join(", ")}`;
}

/**
 * What temperature does to a teacher's answer.
 * data: images[n][rows * columns], rows, columns, logits[n][K], labels[n], names[K], temperatures,
 *       image and step (the default state), domain and ticks (axis of the logits).
 */
function temperaturePanel(form, data) {
  const { images, rows, columns, logits, labels, names, temperatures } = data;
  const K = names.length;
  const few = Math.min(3, K - 1);
  const state = { image: data.image, step: data.step };
  const nameWidth = 42 + 7.5 * Math.min(12, Math.max(...names.map((name) => name.length)));
  const curveSteps = Array.from({ length: 97 }, (_, i) =>
    temperatures[0] * (temperatures.at(-1) / temperatures[0]) ** (i / 96));
  let drawnImage = null;
  let plain = null; // the state at T = 1
  let curve = null;

  // Controls.
  const picker = imagePicker({
    images, rows, columns,
    names: images.map((_, i) => `image ${i + 1}, labelled ${names[labels[i]]}`),
    captions: labels.map((label) => shorten(names[label], 6)),
    changed(index) { state.image = index; draw(); },
  });
  const slider = stepSlider({
    label: "Temperature T (also written \u03c4)",
    steps: temperatures,
    text: (temperature) => `T = ${temperature}`,
    landmarks: { 0.25: "", 1: "plain softmax", 4: "often used", 20: "" },
    changed(index) { state.step = index; draw(); },
  });
  const reset = element("button", { type: "button", class: "kd-reset" }, "Reset");
  reset.addEventListener("click", () => {
    Object.assign(state, { image: data.image, step: data.step });
    draw();
  });

  // Parts, in the order in which a prediction is made.
  const seen = part("image", "Image");
  const seenNotes = {
    label: element("span", {}),
    top: element("span", {}),
  };
  seen.node.append(
    element("div", { class: "kd-note" }, sign("label"), seenNotes.label),
    element("div", { class: "kd-note" }, sign("top"), seenNotes.top));
  const digit = pixelChart(seen.canvas, rows, columns);

  const scaled = part("logits", "Logits z, divided by T",
    element("div", { class: "kd-keys" }, keyEntry("pale", "z"), keyEntry("slim", "z / T")));
  const scaledChart = barChart(scaled.canvas, {
    count: K, domain: data.domain, ticks: data.ticks, reference: "pale", nameWidth, numberWidth: 46,
  });

  const chances = part("probabilities", "Probabilities softmax(z / T)",
    element("div", { class: "kd-keys" }, keyEntry("bar", "p(T)"), keyEntry("outline", "p(1)")));
  const chancesChart = barChart(chances.canvas, {
    count: K, domain: [0, 1], ticks: [0, 0.25, 0.5, 0.75, 1], reference: "outline", nameWidth, numberWidth: 54,
  });

  const others = part("others", "The teacher\u2019s second thoughts",
    element("div", { class: "kd-keys" }, keyEntry("bar", "share at T"), keyEntry("outline", "at T = 1"),
      keyEntry("guide", `equal shares, 1/${K - 1}`)));
  const left = element("div", { class: "kd-note kd-left" });
  others.canvas.before(left);
  const othersChart = barChart(others.canvas, {
    count: few, domain: [0, 1], ticks: [0, 0.25, 0.5, 0.75, 1], reference: "outline", nameWidth, numberWidth: 54,
    rowHeight: 38, guide: 1 / (K - 1),
  });

  const disorder = part("entropy", "");
  const ceiling = Math.log(K);
  const disorderChart = curveChart(disorder.canvas, {
    xDomain: [temperatures[0], temperatures.at(-1)],
    xTicks: [0.25, 0.5, 1, 2, 4, 8, 16],
    yDomain: [0, ceiling * 1.2],
    yTicks: [0, 0.5, 1, 1.5, 2, 2.5].filter((tick) => tick < ceiling * 0.95),
    ceiling,
    ceilingText: `ln ${K}: all classes alike`,
    xTitle: "temperature T, log scale",
  });

  const line = element("output", { class: "kd-summary", "aria-live": "polite" });
  form.append(
    element("div", { class: "kd-controls" }, picker.node, slider.node, reset),
    element("div", { class: "kd-parts" }, seen.node, scaled.node, chances.node, others.node, disorder.node),
    line);

  /** What follows from the image alone: computed once per choice, not per step of the slider. */
  function drawImage() {
    const z = logits[state.image];
    plain = temperatureState(z, 1);
    curve = curveSteps.map((t) => [t, temperatureState(z, t).entropy]);
    digit.update(images[state.image], `image ${state.image + 1}, labelled ${names[labels[state.image]]}`);
    seenNotes.label.textContent = `label: ${names[labels[state.image]]}`;
    seenNotes.top.textContent = `teacher: ${names[plain.top]}`;
  }

  function draw() {
    const newImage = drawnImage !== state.image;
    if (newImage) drawImage();
    drawnImage = state.image;
    const z = logits[state.image];
    const now = temperatureState(z, temperatures[state.step]);
    const at = `T = ${now.temperature}`;
    const marks = (k) => ({ name: names[k], label: k === labels[state.image], top: k === now.top });

    picker.set(state.image);
    slider.set(state.step);
    scaledChart.update({
      name: `Logits divided by ${at}: ` + now.scaled.map((value, k) => `${names[k]} ${value.toFixed(1)}`).join(", "),
      items: z.map((logit, k) => ({
        ...marks(k), value: now.scaled[k], reference: logit, text: signedText(now.scaled[k]),
        data: { class: k, z: logit, scaled: now.scaled[k] },
      })),
    });
    chancesChart.update({
      name: `Probabilities at ${at}: ` + now.probabilities.map((p, k) => `${names[k]} ${p.toFixed(3)}`).join(", "),
      items: now.probabilities.map((p, k) => ({
        ...marks(k), value: p, reference: plain.probabilities[k], text: probabilityText(p),
        data: { class: k, p, plain: plain.probabilities[k] },
      })),
    });
    const shares = now.ranking.slice(0, few);
    othersChart.update({
      name: `Second thoughts at ${at}: ` + shares.map((k, i) => `${names[k]} ${now.secondThoughts[i].toFixed(2)}`).join(", "),
      items: shares.map((k, i) => ({
        ...marks(k), value: now.secondThoughts[i], reference: plain.secondThoughts[i],
        text: probabilityText(now.secondThoughts[i]), data: { class: k, share: now.secondThoughts[i] },
      })),
    });
    left.dataset.rest = now.rest;
    left.textContent = `${probabilityText(now.rest)} is left for the other ${K - 1} classes:`;
    disorder.heading.textContent = `Entropy ${now.entropy.toFixed(2)} of at most ${now.maxEntropy.toFixed(2)} nats`;
    disorderChart.update({
      name: `Entropy against T on a log axis, rising towards ${now.maxEntropy.toFixed(2)} nats; ${now.entropy.toFixed(2)} at ${at}`,
      curve, newCurve: newImage, at: [now.temperature, now.entropy],
      data: { t: now.temperature, entropy: now.entropy },
    });
    line.textContent = summary(now, names);
  }

  draw();
}

const PANEL = {
  name: "temperature",
  make: temperaturePanel,
  style: `
.kd-explorable .kd-live .kd-thumb { display: block; width: 42px; height: 42px; padding: 3px; border: 1px solid var(--kd-soft); border-radius: 6px; }
.kd-explorable .kd-live .kd-caption { display: block; font-size: 12px; line-height: 16px; color: var(--kd-muted); border-bottom: 3px solid transparent; }
.kd-explorable .kd-live label:hover .kd-thumb { border-color: currentColor; }
.kd-explorable .kd-live .kd-radio:checked + .kd-thumb { border: 2px solid currentColor; padding: 2px; }
.kd-explorable .kd-live .kd-radio:checked ~ .kd-caption { color: inherit; font-weight: 700; border-bottom-color: var(--kd-bar); }
.kd-explorable .kd-live .kd-radio:focus-visible + .kd-thumb { outline: 3px solid var(--kd-bar); outline-offset: 2px; }
.kd-explorable .kd-live .kd-part-image { grid-column: span 4; }
.kd-explorable .kd-live .kd-part-logits, .kd-explorable .kd-live .kd-part-probabilities { grid-column: span 10; }
.kd-explorable .kd-live .kd-left { margin: 0 0 8px; }
.kd-explorable .kd-live .kd-part-image .kd-canvas { margin-bottom: 8px; }
.kd-explorable .kd-live .kd-swatch-slim { background: var(--kd-bar); height: 6px; }
.kd-explorable .kd-live .kd-swatch-guide { width: 0; height: 14px; border-left: 2px dotted currentColor; }
.kd-explorable .kd-live .kd-pixels { height: auto; shape-rendering: crispEdges; }
.kd-explorable .kd-live .kd-part-image .kd-pixels { border: 1px solid var(--kd-soft); border-radius: 6px; }
.kd-explorable .kd-live .kd-note svg.kd-sign { display: inline-block; width: 12px; height: 12px; margin-right: 6px; vertical-align: -1px; }
@container (max-width: 560px) {
  .kd-explorable .kd-live .kd-part-image .kd-canvas { max-width: 140px; }
}
`,
};
