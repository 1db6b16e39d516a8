/* kdlab explorables: small panels that answer to a slider within a frame.
 *
 * A panel has no kernel, no server and no library behind it. Python puts the numbers that a model
 * computed into the page as JSON (kdlab/lab/explorable.py); this file does the rest with SVG.
 * Its arithmetic has a twin in Python (kdlab/lab/twins.py), and tests/browser compares the two.
 *
 * Reading order: 1 arithmetic, 2 tools, 3 charts, 4 panels, 5 style, 6 mounting.
 * A new panel is one function in section 4 and one line in PANELS.
 */
(() => {
  "use strict";

  // ------------------------------------------------------------------ 1. arithmetic

  /** softmax of an array; subtracting the maximum changes nothing but keeps exp from overflowing. */
  function softmax(scores) {
    const largest = Math.max(...scores);
    const weights = scores.map((score) => Math.exp(score - largest));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return weights.map((weight) => weight / total);
  }

  /** Entropy in nats; p ln p tends to 0 as p does. */
  function entropy(probabilities) {
    return -probabilities.reduce((sum, p) => (p > 0 ? sum + p * Math.log(p) : sum), 0);
  }

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

  // ------------------------------------------------------------------ 2. tools

  const SVG = "http://www.w3.org/2000/svg";

  /** Create an HTML element: element("p", {class: "kd-note"}, "text", child, ...). */
  function element(tag, attributes = {}, ...children) {
    return fill(document.createElement(tag), attributes, children);
  }

  /** The same for SVG. */
  function shape(tag, attributes = {}, ...children) {
    return fill(document.createElementNS(SVG, tag), attributes, children);
  }

  function fill(node, attributes, children) {
    set(node, attributes);
    node.append(...children);
    return node;
  }

  function set(node, attributes) {
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  }

  /** A linear scale: numbers of `domain` to pixels of `range`. */
  function linear([d0, d1], [r0, r1]) {
    return (value) => r0 + ((value - d0) / (d1 - d0)) * (r1 - r0);
  }

  function clamp(value, [low, high]) {
    return Math.min(high, Math.max(low, value));
  }

  /** Three decimals, and never "0.000" for something that is not zero. */
  function probabilityText(p) {
    return p > 0 && p < 0.0005 ? "<0.001" : p.toFixed(3);
  }

  /** A true minus sign, and no "-0.0". */
  function signedText(value) {
    return value.toFixed(1).replace(/^-0\.0$/, "0.0").replace("-", "\u2212");
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

  /** "96.6 %" for 0.966. */
  function percentText(share) {
    return `${(Math.round(1000 * share) / 10).toFixed(1)} %`;
  }

  function shorten(text, length) {
    return text.length > length ? text.slice(0, length - 1) + "\u2026" : text;
  }

  /** Call `layout(width)` now and whenever the width of `host` changes. */
  function onWidth(host, layout) {
    const apply = () => { if (host.clientWidth) layout(host.clientWidth); };
    layout(host.clientWidth || 300); // 0 while JupyterLab has not attached the output yet
    if (window.ResizeObserver) new ResizeObserver(apply).observe(host);
  }

  /** JupyterLab takes plain keys for its own (arrows change the cell, "d d" deletes it): keep them here. */
  function keepKeys(node) {
    node.addEventListener("keydown", (event) => {
      const forTheNotebook = event.ctrlKey || event.metaKey || event.altKey || event.key === "Escape"
        || (event.key === "Enter" && event.shiftKey);
      if (!forTheNotebook) event.stopPropagation();
    });
  }

  // ------------------------------------------------------------------ 3. charts
  // A chart makes all of its nodes once. `layout` places what depends on the width, `update` what depends on the data.

  const DIAMOND = "M0,-5 L5,0 L0,5 L-5,0 Z";
  const TRIANGLE = "M-4,-5 L5,0 L-4,5 Z";

  /** A small sign to be used in running text, the same as in the charts. */
  function sign(kind) {
    return shape("svg", { class: `kd-sign kd-${kind}`, viewBox: "-6 -6 12 12", "aria-hidden": "true" },
      shape("path", { d: kind === "label" ? DIAMOND : TRIANGLE }));
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

  /**
   * Horizontal bars, a row each: signs and name | bar over a reference mark | number.
   * The reference is "pale" (a broad pale bar behind) or "outline" (a dashed frame).
   */
  function barChart(host, {
    count, domain, ticks, reference, nameWidth, numberWidth, rowHeight = 22, guide, nameLength = 12,
    tickText = (tick) => String(tick).replace("-", "\u2212"),
  }) {
    const plotHeight = count * rowHeight;
    const height = plotHeight + 22;
    const svg = shape("svg", { role: "img", height, class: `kd-bars kd-${reference}` });
    const grid = ticks.map((tick) => ({
      tick,
      line: svg.appendChild(shape("line", { class: tick === 0 ? "kd-axis" : "kd-grid", y1: 0, y2: plotHeight })),
      text: svg.appendChild(shape("text", { class: "kd-tick", y: height - 6, "text-anchor": "middle" })),
    }));
    const rows = Array.from({ length: count }, (_, index) => makeRow(index));
    const guideLine = guide && svg.appendChild(shape("line", { class: "kd-guide", y1: 0, y2: plotHeight }));
    host.append(svg);

    let x = linear(domain, [0, 1]);
    let last = null;

    function makeRow(index) {
      const middle = (index + 0.5) * rowHeight;
      const group = svg.appendChild(shape("g", { class: "kd-row", transform: `translate(0 ${middle})` }));
      const add = (node) => group.appendChild(node);
      const broad = rowHeight - 6;
      const slim = reference === "pale" ? broad / 2 : broad;
      return {
        group,
        label: add(shape("path", { class: "kd-sign kd-label", d: DIAMOND, transform: "translate(7 0)" })),
        top: add(shape("path", { class: "kd-sign kd-top", d: TRIANGLE, transform: "translate(20 0)" })),
        name: add(shape("text", { class: "kd-name", x: nameWidth - 8, dy: "0.36em", "text-anchor": "end" })),
        back: reference === "pale" ? add(shape("rect", { class: "kd-reference", y: -broad / 2, height: broad })) : null,
        bar: add(shape("rect", { class: "kd-bar", y: -slim / 2, height: slim })),
        frame: reference === "outline" ? add(shape("rect", { class: "kd-reference", y: -slim / 2, height: slim })) : null,
        beyond: add(shape("path", { class: "kd-beyond", d: "M-6,-5 L0,0 L-6,5 M-11,-5 L-5,0 L-11,5" })),
        number: add(shape("text", { class: "kd-number", dy: "0.36em", "text-anchor": "end" })),
      };
    }

    function layout(width) {
      const range = [nameWidth, width - numberWidth];
      x = linear(domain, range);
      set(svg, { viewBox: `0 0 ${width} ${height}` });
      for (const { tick, line, text } of grid) {
        set(line, { x1: x(tick), x2: x(tick) });
        text.setAttribute("x", x(tick));
        text.textContent = tickText(tick);
      }
      if (guideLine) set(guideLine, { x1: x(guide), x2: x(guide) });
      for (const row of rows) row.number.setAttribute("x", width - 2);
      if (last) update(last);
    }

    /** Place a bar between zero and value; what leaves the axis is cut, and says so with a double arrow. */
    function place(rect, value) {
      const start = x(clamp(0, domain));
      const end = x(clamp(value, domain));
      set(rect, { x: Math.min(start, end), width: Math.abs(end - start) });
    }

    /** @param {{name, items: {name, value, reference, text, label, top, data}[]}} state */
    function update(state) {
      last = state;
      svg.setAttribute("aria-label", state.name);
      state.items.forEach((item, index) => {
        const row = rows[index];
        place(row.bar, item.value);
        place(row.back || row.frame, item.reference);
        const outside = item.value > domain[1] ? 1 : item.value < domain[0] ? -1 : 0;
        set(row.beyond, {
          visibility: outside ? "visible" : "hidden",
          transform: outside < 0 ? `translate(${x(domain[0]) + 2} 0) scale(-1 1)` : `translate(${x(domain[1]) - 2} 0)`,
        });
        row.label.setAttribute("visibility", item.label ? "visible" : "hidden");
        row.top.setAttribute("visibility", item.top ? "visible" : "hidden");
        row.group.classList.toggle("kd-is-top", Boolean(item.top));
        row.name.textContent = shorten(item.name, nameLength);
        row.number.textContent = item.text;
        for (const [name, value] of Object.entries(item.data)) row.bar.dataset[name] = value;
      });
    }

    onWidth(host, layout);
    return { update };
  }

  /** A curve over a log axis with a dot on it and a ceiling above it; `points` of it may be marked as measured. */
  function curveChart(host, {
    xDomain, xTicks, yDomain, yTicks, ceiling, ceilingText, xTitle, height = 194, left = 34, points = 0,
    xText = String, yText = (tick) => (tick === 0 ? "0" : tick.toFixed(1)),
  }) {
    const bottom = height - 40;
    const svg = shape("svg", { role: "img", height, class: "kd-curve" });
    const add = (tag, attributes) => svg.appendChild(shape(tag, attributes));
    const y = linear(yDomain, [bottom, 6]);
    const horizontal = yTicks.map((tick) => {
      const text = add("text", { class: "kd-tick", x: left - 7, y: y(tick), dy: "0.36em", "text-anchor": "end" });
      text.textContent = yText(tick);
      return add("line", { class: tick === 0 ? "kd-axis" : "kd-grid", x1: left, y1: y(tick), y2: y(tick) });
    });
    const vertical = xTicks.map((tick) => {
      const text = add("text", { class: "kd-tick", y: bottom + 17, "text-anchor": "middle" });
      text.textContent = xText(tick);
      return { tick, text, line: add("line", { class: "kd-grid", y1: bottom, y2: bottom + 4 }) };
    });
    const top = add("line", { class: "kd-ceiling", x1: left, y1: y(ceiling), y2: y(ceiling) });
    const note = add("text", { class: "kd-tick", x: left + 4, y: y(ceiling) - 6 });
    note.textContent = ceilingText;
    const title = add("text", { class: "kd-tick", y: height - 5, "text-anchor": "middle" });
    title.textContent = xTitle;
    const drop = add("line", { class: "kd-drop", y2: bottom });
    const path = add("path", { class: "kd-line" });
    const marks = Array.from({ length: points }, () => add("circle", { class: "kd-mark", r: 3.5 }));
    const dot = add("circle", { class: "kd-dot", r: 6 });
    host.append(svg);

    let x = linear([0, 1], [0, 1]);
    let last = null;

    function layout(width) {
      const logs = linear(xDomain.map(Math.log), [left + 8, width - 10]);
      x = (temperature) => logs(Math.log(temperature));
      set(svg, { viewBox: `0 0 ${width} ${height}` });
      title.setAttribute("x", (left + width) / 2);
      for (const line of [...horizontal, top]) line.setAttribute("x2", width);
      for (const { tick, text, line } of vertical) {
        text.setAttribute("x", x(tick));
        set(line, { x1: x(tick), x2: x(tick) });
      }
      if (last) update({ ...last, newCurve: true });
    }

    /** @param {{name, curve: [T, H][], newCurve, at: [T, H], data}} state */
    function update(state) {
      last = state;
      svg.setAttribute("aria-label", state.name);
      if (state.newCurve) {
        path.setAttribute("d", "M" + state.curve.map(([t, h]) => `${x(t).toFixed(2)},${y(h).toFixed(2)}`).join(" L"));
        marks.forEach((mark, index) => set(mark, { cx: x(state.curve[index][0]), cy: y(state.curve[index][1]) }));
      }
      const [cx, cy] = [x(state.at[0]), y(state.at[1])];
      set(dot, { cx, cy });
      set(drop, { x1: cx, x2: cx, y1: cy });
      Object.assign(dot.dataset, state.data);
    }

    onWidth(host, layout);
    return { update };
  }

  // ------------------------------------------------------------------ 4. panels

  /** A slider over discrete steps, with a visible label and value; calls `changed(index)`. */
  function stepSlider({ label, steps, text, landmarks, changed }) {
    const input = element("input", { type: "range", min: 0, max: steps.length - 1, step: 1, class: "kd-range" });
    const value = element("span", { class: "kd-value", "aria-hidden": "true" }); // aria-valuetext speaks instead
    const ticks = element("span", { class: "kd-ticks", "aria-hidden": "true" });
    steps.forEach((step, index) => {
      const mark = landmarks[step]; // its number, and perhaps a word on it
      // A native thumb is 16 pixels wide, so its centre runs from 8 to width - 8.
      const left = `left:calc(8px + (100% - 16px) * ${index / (steps.length - 1)})`;
      const note = mark === undefined ? "" : element("b", {}, String(step), element("i", {}, mark));
      ticks.append(element("span", { class: note ? "kd-landmark" : "", style: left }, note));
    });
    const node = element("label", { class: "kd-slider" }, element("span", { class: "kd-slider-label" }, label), value,
      element("span", { class: "kd-track" }, input, ticks));
    input.addEventListener("input", () => changed(Number(input.value)));
    return {
      node,
      input,
      set(index) {
        input.value = index;
        input.setAttribute("aria-valuetext", text(steps[index]));
        value.textContent = text(steps[index]);
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

  /** A titled part of a panel: returns its live heading and the element to draw in. */
  function part(name, title, ...notes) {
    const heading = element("div", { class: "kd-heading" }, title);
    const canvas = element("div", { class: "kd-canvas" });
    const node = element("div", { class: `kd-part kd-part-${name}` }, heading, canvas, ...notes);
    return { node, heading, canvas };
  }

  function keyEntry(kind, text) {
    return element("span", { class: "kd-key" }, element("span", { class: `kd-swatch kd-swatch-${kind}` }), text);
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

  const PANELS = { temperature: temperaturePanel, width: widthPanel };

  // ------------------------------------------------------------------ 5. style
  // Text takes the page's own colour, so that it is readable in light and dark; --kd-* colours come from theme.py.

  const STYLE = `
.kd-explorable { color: var(--jp-content-font-color1, inherit); max-width: 900px; margin: 4px 0;
  --kd-bar: var(--kd-blue); --kd-first: var(--kd-vermillion);
  --kd-soft: color-mix(in srgb, currentColor 18%, transparent); --kd-faint: color-mix(in srgb, currentColor 11%, transparent);
  --kd-pale: color-mix(in srgb, currentColor 30%, transparent);
  --kd-muted: color-mix(in srgb, currentColor 76%, transparent); }
body[data-jp-theme-light="false"] .kd-explorable, body[data-theme="dark"] .kd-explorable {
  --kd-bar: var(--kd-sky); --kd-first: var(--kd-orange); }
.kd-explorable .kd-live { container-type: inline-size; margin: 0; padding: 16px 18px 14px; box-sizing: border-box;
  border: 1px solid var(--kd-soft); border-radius: 10px; background: var(--jp-layout-color1, transparent);
  font: 13px/1.4 var(--jp-ui-font-family, system-ui, sans-serif); font-variant-numeric: tabular-nums; }
.kd-explorable .kd-live * { box-sizing: border-box; }
.kd-explorable .kd-hidden, .kd-explorable .kd-radio { position: absolute; width: 1px; height: 1px; margin: 0; overflow: hidden;
  clip-path: inset(50%); white-space: nowrap; }

.kd-explorable .kd-controls { display: grid; grid-template-columns: 1fr auto; gap: 14px 20px; align-items: center; }
.kd-explorable .kd-picker { grid-column: 1 / -1; display: flex; flex-wrap: wrap; gap: 6px 8px; margin: 0; padding: 0; border: 0; min-width: 0; }
.kd-explorable .kd-picker legend { float: left; width: auto; margin: 0; padding: 10px 6px 0 0; font: inherit; font-weight: 600; color: inherit; border: 0; }
.kd-explorable .kd-picker label { position: relative; display: block; margin: 0; cursor: pointer; text-align: center; }
.kd-explorable .kd-thumb { display: block; width: 42px; height: 42px; padding: 3px; border: 1px solid var(--kd-soft); border-radius: 6px; }
.kd-explorable .kd-caption { display: block; font-size: 12px; line-height: 16px; color: var(--kd-muted); border-bottom: 3px solid transparent; }
.kd-explorable label:hover .kd-thumb { border-color: currentColor; }
.kd-explorable .kd-radio:checked + .kd-thumb { border: 2px solid currentColor; padding: 2px; }
.kd-explorable .kd-radio:checked ~ .kd-caption { color: inherit; font-weight: 700; border-bottom-color: var(--kd-bar); }
.kd-explorable .kd-radio:focus-visible + .kd-thumb { outline: 3px solid var(--kd-bar); outline-offset: 2px; }

.kd-explorable .kd-slider { display: grid; grid-template-columns: auto 1fr; align-items: baseline; column-gap: 14px; margin: 0; min-width: 0; }
.kd-explorable .kd-slider-label { font-weight: 600; }
.kd-explorable .kd-value { font-size: 20px; font-weight: 700; line-height: 1.2; }
.kd-explorable .kd-value { white-space: nowrap; }
.kd-explorable .kd-track { grid-column: 1 / -1; position: relative; display: block; padding: 4px 0 24px; }
.kd-explorable .kd-range { display: block; width: 100%; height: 20px; margin: 0; accent-color: var(--kd-bar); cursor: pointer; }
.kd-explorable .kd-range:focus-visible { outline: 2px solid var(--kd-bar); outline-offset: 2px; border-radius: 6px; }
.kd-explorable .kd-ticks { position: absolute; left: 0; right: 0; top: 30px; height: 16px; }
.kd-explorable .kd-ticks span { position: absolute; width: 1px; height: 4px; background: var(--kd-muted); }
.kd-explorable .kd-ticks .kd-landmark { height: 7px; width: 2px; margin-left: -0.5px; }
.kd-explorable .kd-ticks b { position: absolute; top: 6px; left: 1px; transform: translateX(-50%); font-size: 12px; font-weight: 400; line-height: 16px; white-space: nowrap; }
.kd-explorable .kd-ticks i { position: absolute; left: 100%; margin-left: 5px; font-style: normal; color: var(--kd-muted); }
.kd-explorable .kd-ticks span:first-child b { left: -8px; transform: none; }
.kd-explorable .kd-ticks span:last-child b { left: auto; right: -8px; transform: none; }
.kd-explorable .kd-reset { font: inherit; color: inherit; padding: 6px 16px; border: 1px solid var(--kd-muted); border-radius: 6px;
  background: transparent; cursor: pointer; }
.kd-explorable .kd-reset:hover { background: var(--kd-faint); }
.kd-explorable .kd-reset:focus-visible { outline: 3px solid var(--kd-bar); outline-offset: 2px; }

.kd-explorable .kd-parts { display: grid; grid-template-columns: repeat(24, minmax(0, 1fr)); gap: 18px 22px; margin-top: 14px;
  padding-top: 16px; border-top: 1px solid var(--kd-soft); }
.kd-explorable .kd-part { min-width: 0; display: flex; flex-direction: column; }
.kd-explorable .kd-part-image { grid-column: span 4; }
.kd-explorable .kd-part-logits, .kd-explorable .kd-part-probabilities { grid-column: span 10; }
.kd-explorable .kd-part-others, .kd-explorable .kd-part-entropy { grid-column: span 12; }
.kd-explorable .kd-part-sums { grid-column: 1 / -1; }
.kd-explorable .kd-part-saved, .kd-explorable .kd-part-skill { grid-column: span 12; }
.kd-explorable .kd-part-sums .kd-canvas { display: grid; grid-template-columns: auto 1fr; gap: 2px 18px; }
.kd-explorable .kd-sum-name { color: var(--kd-muted); }
.kd-explorable .kd-sum b { font-weight: 700; }
.kd-explorable .kd-heading { font-weight: 600; margin-bottom: 6px; }
.kd-explorable .kd-note { color: var(--kd-muted); }
.kd-explorable .kd-left { margin: 0 0 8px; }
.kd-explorable .kd-part-image .kd-canvas { margin-bottom: 8px; }
.kd-explorable .kd-keys { display: flex; flex-wrap: wrap; gap: 2px 14px; margin-top: 2px; color: var(--kd-muted); font-size: 12px; }
.kd-explorable .kd-key { display: inline-flex; align-items: center; gap: 6px; }
.kd-explorable .kd-swatch { width: 18px; height: 10px; }
.kd-explorable .kd-swatch-pale { background: color-mix(in srgb, currentColor 40%, transparent); height: 12px; }
.kd-explorable .kd-swatch-slim { background: var(--kd-bar); height: 6px; }
.kd-explorable .kd-swatch-bar { background: var(--kd-bar); }
.kd-explorable .kd-swatch-outline { border: 1.5px dashed currentColor; }
.kd-explorable .kd-swatch-guide { width: 0; height: 14px; border-left: 2px dotted currentColor; }

.kd-explorable svg { display: block; width: 100%; overflow: visible; fill: currentColor; }
.kd-explorable .kd-pixels { height: auto; shape-rendering: crispEdges; }
.kd-explorable .kd-part-image .kd-pixels { border: 1px solid var(--kd-soft); border-radius: 6px; }
.kd-explorable .kd-note svg.kd-sign { display: inline-block; width: 12px; height: 12px; margin-right: 6px; vertical-align: -1px; }
.kd-explorable text { font-size: 12px; fill: currentColor; }
.kd-explorable .kd-tick { fill: var(--kd-muted); }
.kd-explorable .kd-is-top .kd-name, .kd-explorable .kd-is-top .kd-number { font-weight: 700; }
.kd-explorable .kd-grid { stroke: var(--kd-faint); }
.kd-explorable .kd-axis { stroke: var(--kd-muted); }
.kd-explorable .kd-bar { fill: var(--kd-bar); }
.kd-explorable .kd-is-top .kd-bar, .kd-explorable .kd-sign.kd-top { fill: var(--kd-first); }
.kd-explorable .kd-pale .kd-reference { fill: var(--kd-pale); }
.kd-explorable .kd-outline .kd-reference { fill: none; stroke: currentColor; stroke-width: 1.25; stroke-dasharray: 3 2.5; }
.kd-explorable .kd-beyond { fill: none; stroke: var(--jp-layout-color1, #fff); stroke-width: 2; }
.kd-explorable .kd-guide { stroke: currentColor; stroke-width: 1.5; stroke-dasharray: 1.5 3; }
.kd-explorable .kd-ceiling { stroke: var(--kd-muted); stroke-dasharray: 6 4; }
.kd-explorable .kd-line { fill: none; stroke: var(--kd-bar); stroke-width: 2.5; }
.kd-explorable .kd-mark { fill: var(--kd-bar); }
.kd-explorable .kd-drop { stroke: var(--kd-muted); stroke-dasharray: 2 3; }
.kd-explorable .kd-dot { fill: var(--kd-first); stroke: var(--jp-layout-color1, #fff); stroke-width: 2; }
.kd-explorable .kd-summary { display: block; min-height: 2.8em; margin-top: 14px; padding-top: 10px; border-top: 1px solid var(--kd-soft); }

@container (max-width: 560px) {
  .kd-explorable .kd-parts { grid-template-columns: minmax(0, 1fr); }
  .kd-explorable .kd-part { grid-column: 1; }
  .kd-explorable .kd-ticks i { display: none; }
  .kd-explorable .kd-part-image .kd-canvas { max-width: 140px; }
}
`;

  // ------------------------------------------------------------------ 6. mounting

  /** Turn one container into a live panel. Safe to call again: on the same element it does nothing. */
  function mount(root) {
    const make = PANELS[root.dataset.kdPanel];
    const source = root.querySelector("script.kd-data");
    if (!make || !source || root.kdlabMounted) return;
    root.kdlabMounted = true; // a property, not an attribute: a copy of the markup starts afresh
    root.querySelectorAll(".kd-live, .kd-style").forEach((dead) => dead.remove());
    const { colors, ...data } = JSON.parse(source.textContent);
    for (const [name, value] of Object.entries(colors)) root.style.setProperty(`--kd-${name}`, value);
    const form = element("form", { class: "kd-live", "aria-label": root.dataset.kdTitle, autocomplete: "off" });
    form.addEventListener("submit", (event) => event.preventDefault());
    keepKeys(form);
    const fallback = root.querySelector(".kd-fallback");
    root.append(element("style", { class: "kd-style" }, STYLE), form);
    try {
      make(form, data);
      fallback.style.display = "none";
    } catch (error) {
      form.remove(); // the static picture stays
      throw error;
    }
  }

  document.querySelectorAll(".kd-explorable").forEach(mount);
})();
