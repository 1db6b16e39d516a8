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

  const NOTHING = 1e-12; // a gradient shorter than this is rounding, here and in Python

  function logSoftmax(scores) {
    const largest = Math.max(...scores);
    const rest = Math.log(scores.reduce((sum, score) => sum + Math.exp(score - largest), 0));
    return scores.map((score) => score - largest - rest);
  }

  const dot = (a, b) => a.reduce((sum, value, k) => sum + value * b[k], 0);

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

  /** A true minus sign, and no minus before zero. */
  function fixedText(value, places) {
    const text = value.toFixed(places);
    return text.replace("-", Number(text) === 0 ? "" : "\u2212");
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

  /** A difference in points: its sign always, one decimal. */
  function pointsText(value) {
    const text = fixedText(value, 1);
    return text === "0.0" || text[0] === "\u2212" ? text : `+${text}`;
  }

  function intervalText([low, high]) {
    return `${pointsText(low)} to ${pointsText(high)}`;
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
    xDomain, xTicks, yDomain, yTicks, ceiling, ceilingText, xTitle, height = 194, left = 34, points = 0, ceilingAtEnd = false,
    xText = String, yText = (tick) => (tick === 0 ? "0" : tick.toFixed(1)),
  }) {
    const bottom = height - 40;
    const svg = shape("svg", { role: "img", height, class: "kd-curve" });
    const add = (tag, attributes) => svg.appendChild(shape(tag, attributes));
    let y = null;
    const horizontal = Array.from({ length: Math.max(6, yTicks.length) }, () => ({
      text: add("text", { class: "kd-tick", x: left - 7, dy: "0.36em", "text-anchor": "end" }),
      line: add("line", { x1: left }),
    }));
    const vertical = xTicks.map((tick) => {
      const text = add("text", { class: "kd-tick", y: bottom + 17, "text-anchor": "middle" });
      text.textContent = xText(tick);
      return { tick, text, line: add("line", { class: "kd-grid", y1: bottom, y2: bottom + 4 }) };
    });
    const top = add("line", { class: "kd-ceiling", x1: left });
    const note = add("text", { class: "kd-tick", x: left + 4, "text-anchor": ceilingAtEnd ? "end" : "start" });
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
      if (ceilingAtEnd) note.setAttribute("x", width - 22); // clear of the dot
      for (const line of [...horizontal.map((slot) => slot.line), top]) line.setAttribute("x2", width);
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

    /** Set the y axis; a ceiling is a line at a value, with words on it, and may be missing. */
    function setY(axis) {
      y = linear(axis.domain, [bottom, 6]);
      horizontal.forEach(({ text, line }, index) => {
        const tick = axis.ticks[index];
        const at = { visibility: tick === undefined ? "hidden" : "visible" };
        const height = y(tick === undefined ? axis.domain[0] : tick);
        set(text, { ...at, y: height });
        text.textContent = tick === undefined ? "" : yText(tick);
        set(line, { ...at, class: tick === 0 ? "kd-axis" : "kd-grid", y1: height, y2: height });
      });
      const visibility = axis.ceiling === undefined ? "hidden" : "visible";
      const height = y(axis.ceiling === undefined ? axis.domain[1] : axis.ceiling);
      set(top, { visibility, y1: height, y2: height });
      set(note, { visibility, y: height - 6 });
      note.textContent = axis.ceiling === undefined ? "" : axis.ceilingText;
    }

    setY({ domain: yDomain, ticks: yTicks, ceiling, ceilingText });
    onWidth(host, layout);
    return { update, setY };
  }

  /**
   * Rows with several bars each: signs and name | lanes on one axis | numbers.
   * A lane is {kind, top, height}, or {kind, top, height, mark: true} for a thin mark at a value.
   * `numbers` are columns {title, width}; `ends` are words under both ends of the axis, [long, short] each.
   */
  function laneChart(host, { count, rowHeight, lanes, numbers, nameWidth, nameLength = 12, ends = [] }) {
    const head = numbers.some(({ title }) => title) ? 20 : 0;
    const bottom = head + count * rowHeight;
    const height = bottom + 22 + (ends.length ? 16 : 0);
    const svg = shape("svg", { role: "img", height, class: "kd-lanes" });
    const add = (tag, attributes, ...children) => svg.appendChild(shape(tag, attributes, ...children));
    const grid = Array.from({ length: 8 }, () => ({
      line: add("line", { y1: head, y2: bottom }),
      text: add("text", { class: "kd-tick", y: bottom + 16, "text-anchor": "middle" }),
    }));
    const words = ends.map((_, side) =>
      add("text", { class: "kd-tick", y: height - 4, "text-anchor": side ? "end" : "start" }));
    const titles = numbers.map(({ title }) =>
      add("text", { class: "kd-tick", y: 12, "text-anchor": "end" }, title));
    const numberWidth = numbers.reduce((sum, { width }) => sum + width, 0);
    const rows = Array.from({ length: count }, (_, index) => makeRow(head + (index + 0.5) * rowHeight));
    host.append(svg);

    let axis = { domain: [0, 1], ticks: [0, 1] };
    let x = linear(axis.domain, [0, 1]);
    let width = 300;
    let last = null;

    function makeRow(middle) {
      const group = add("g", { class: "kd-row", transform: `translate(0 ${middle})` });
      const inRow = (tag, attributes) => group.appendChild(shape(tag, attributes));
      return {
        group,
        label: inRow("path", { class: "kd-sign kd-label", d: DIAMOND, transform: "translate(7 0)" }),
        top: inRow("path", { class: "kd-sign kd-top", d: TRIANGLE, transform: "translate(20 0)" }),
        name: inRow("text", { class: "kd-name", x: nameWidth - 8, dy: "0.36em", "text-anchor": "end" }),
        lanes: lanes.map((lane) => ({
          ...lane,
          rect: inRow("rect", { class: `kd-lane kd-lane-${lane.kind}`, y: lane.top, height: lane.height }),
          beyond: inRow("path", { class: "kd-beyond", d: arrow(Math.min(5, lane.height / 2 - 0.5)) }),
        })),
        numbers: numbers.map(() => inRow("text", { class: "kd-number", dy: "0.36em", "text-anchor": "end" })),
      };
    }

    /** A double arrow of half height `s`, its tip at the origin: what lies here is cut. */
    function arrow(s) {
      return `M${-s},${-s} L0,0 L${-s},${s} M${-2 * s},${-s} L${-s},0 L${-2 * s},${s}`;
    }

    function layout(newWidth) {
      width = newWidth;
      const range = [nameWidth, width - numberWidth];
      x = linear(axis.domain, range);
      set(svg, { viewBox: `0 0 ${width} ${height}` });
      const apart = x(axis.ticks[1]) - x(axis.ticks[0]);
      const every = Math.ceil(34 / apart); // a label on each second or third tick where the chart is narrow
      grid.forEach(({ line, text }, index) => {
        const tick = axis.ticks[index];
        const labelled = (index - axis.ticks.indexOf(0)) % every === 0;
        set(line, { class: tick === 0 ? "kd-axis" : "kd-grid", x1: x(tick || 0), x2: x(tick || 0),
          visibility: tick === undefined ? "hidden" : "visible" });
        text.setAttribute("x", x(tick || 0));
        text.textContent = tick === undefined || !labelled ? "" : String(tick).replace("-", "\u2212");
      });
      words.forEach((word, side) => {
        word.setAttribute("x", range[side]);
        word.textContent = ends[side][range[1] - range[0] < 170 ? 1 : 0];
      });
      const columns = numbers.map((_, index) =>
        width - 2 - numbers.slice(index + 1).reduce((sum, column) => sum + column.width, 0));
      titles.forEach((title, index) => title.setAttribute("x", columns[index]));
      for (const row of rows) row.numbers.forEach((number, index) => number.setAttribute("x", columns[index]));
      if (last) update(last);
    }

    /** Place a lane from one value to another; what leaves the axis is cut, and says so. */
    function place({ rect, beyond, mark, top, height: thick }, span) {
      const [from, to] = (span || [0, 0]).map((value) => x(clamp(value, axis.domain)));
      if (mark) set(rect, { x: to - 1, width: 2 });
      else set(rect, { x: Math.min(from, to), width: Math.abs(to - from) });
      const end = span ? span[1] : 0;
      const outside = end > axis.domain[1] ? 1 : end < axis.domain[0] ? -1 : 0;
      set(beyond, {
        visibility: outside ? "visible" : "hidden",
        transform: `translate(${to - 2 * outside} ${top + thick / 2}) scale(${outside || 1} 1)`,
      });
    }

    /** @param {{name, items: {name, spans: ([from, to]|null)[], numbers: string[], label, top, data}[]}} state */
    function update(state) {
      last = state;
      svg.setAttribute("aria-label", state.name);
      state.items.forEach((item, index) => {
        const row = rows[index];
        row.lanes.forEach((lane, i) => place(lane, item.spans[i]));
        row.label.setAttribute("visibility", item.label ? "visible" : "hidden");
        row.top.setAttribute("visibility", item.top ? "visible" : "hidden");
        row.name.textContent = shorten(item.name, nameLength);
        row.numbers.forEach((number, i) => { number.textContent = item.numbers[i]; });
        for (const [name, value] of Object.entries(item.data)) row.group.dataset[name] = value;
      });
    }

    onWidth(host, layout);
    return { update, setAxis(newAxis) { axis = newAxis; last = null; layout(width); } };
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

  /** A row of words to choose from; calls `changed(index)`. */
  function casePicker({ cases, changed, legend = "Choose a case" }) {
    const inputs = cases.map((_, index) => {
      const input = element("input", { type: "radio", name: "case", value: index, class: "kd-radio" });
      input.addEventListener("change", () => changed(index));
      return input;
    });
    const choices = cases.map((name, index) =>
      element("label", {}, inputs[index], element("span", { class: "kd-chip" }, name)));
    const node = element("fieldset", { class: "kd-picker kd-cases" },
      element("legend", {}, legend), ...choices);
    return { node, set(index) { inputs[index].checked = true; } };
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
    const node = element("div", { class: "kd-losses" }, group("Right", false), group("Faulty", true));
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

  const PANELS = { temperature: temperaturePanel, width: widthPanel, loss: lossPanel, descent: descentPanel, seeds: seedsPanel };

  // ------------------------------------------------------------------ 5. style
  // Text takes the page's own colour, so that it is readable in light and dark; --kd-* colours come from theme.py.

  const STYLE = `
.kd-explorable { color: var(--jp-content-font-color1, inherit); max-width: 900px; margin: 4px 0;
  --kd-bar: var(--kd-blue); --kd-first: var(--kd-vermillion); --kd-soft-part: var(--kd-vermillion); --kd-hard-part: var(--kd-green);
  --kd-soft: color-mix(in srgb, currentColor 18%, transparent); --kd-faint: color-mix(in srgb, currentColor 11%, transparent);
  --kd-pale: color-mix(in srgb, currentColor 30%, transparent);
  --kd-muted: color-mix(in srgb, currentColor 76%, transparent); }
body[data-jp-theme-light="false"] .kd-explorable, body[data-theme="dark"] .kd-explorable {
  --kd-bar: var(--kd-sky); --kd-first: var(--kd-orange); --kd-soft-part: var(--kd-orange); }
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
.kd-explorable .kd-controls-two { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 12px 28px; }
.kd-explorable .kd-controls-two .kd-track { padding-bottom: 22px; }
.kd-explorable .kd-controls-two .kd-reset { justify-self: end; }
.kd-explorable .kd-controls-two .kd-ticks span:last-child i { left: auto; right: 100%; margin: 0 5px 0 0; }
.kd-explorable .kd-cases { gap: 8px; }
.kd-explorable .kd-cases legend { padding-top: 5px; }
.kd-explorable .kd-chip { display: block; padding: 4px 12px; border: 1px solid var(--kd-muted); border-radius: 14px; }
.kd-explorable label:hover .kd-chip { background: var(--kd-faint); }
.kd-explorable .kd-radio:checked + .kd-chip { font-weight: 700; border: 2px solid var(--kd-bar); padding: 3px 11px; }
.kd-explorable .kd-radio:focus-visible + .kd-chip { outline: 3px solid var(--kd-bar); outline-offset: 2px; }
.kd-explorable .kd-check { display: inline-flex; align-items: center; gap: 8px; margin: 0; cursor: pointer; justify-self: start; }
.kd-explorable .kd-check input { width: 18px; height: 18px; margin: 0; accent-color: var(--kd-bar); cursor: pointer; }
.kd-explorable .kd-check input:focus-visible { outline: 3px solid var(--kd-bar); outline-offset: 2px; }
.kd-explorable .kd-part-loss-chances, .kd-explorable .kd-part-loss-gradient { grid-column: span 12; }
.kd-explorable .kd-part-loss-terms, .kd-explorable .kd-part-loss-norms { grid-column: span 12; }
.kd-explorable .kd-part-loss-chances .kd-keys, .kd-explorable .kd-part-loss-gradient .kd-keys { color: inherit; }
.kd-explorable .kd-part-loss-chances .kd-key svg { width: 12px; height: 12px; }
.kd-explorable .kd-part-loss-gradient .kd-note { margin-top: 2px; }
.kd-explorable .kd-part-seeds-single, .kd-explorable .kd-part-seeds-together { grid-column: span 12; }
.kd-explorable .kd-part-seeds-together .kd-note { margin-top: 10px; }
.kd-explorable .kd-lane-student { fill: var(--kd-bar); }
.kd-explorable .kd-lane-teacher { fill: none; stroke: currentColor; stroke-width: 1.25; stroke-dasharray: 3 2.5; }
.kd-explorable .kd-lane-plain, .kd-explorable .kd-lane-sum, .kd-explorable .kd-swatch-sum {
  fill: currentColor; background: currentColor; }
.kd-explorable .kd-lane-soft, .kd-explorable .kd-swatch-soft { fill: var(--kd-soft-part); background: var(--kd-soft-part); }
.kd-explorable .kd-lane-hard, .kd-explorable .kd-swatch-hard { fill: var(--kd-hard-part); background: var(--kd-hard-part); }
.kd-explorable .kd-lanes .kd-beyond { stroke-width: 1.5; }
.kd-explorable .kd-lane-pale { fill: var(--kd-pale); }
.kd-explorable .kd-swatch-mark { width: 2px; height: 14px; background: currentColor; }
.kd-explorable .kd-sums { display: grid; grid-template-columns: auto 1fr; gap: 2px 14px; margin: 8px 0 6px; }
.kd-explorable .kd-figures { display: grid; grid-template-columns: 1fr 1fr; gap: 4px 18px; margin-top: 10px; }
.kd-explorable .kd-figures div { display: flex; flex-direction: column; }
.kd-explorable .kd-figures span { color: var(--kd-muted); font-size: 12px; }
.kd-explorable .kd-figure { font-size: 20px; font-weight: 700; line-height: 1.3; }
.kd-explorable .kd-losses { grid-column: 1 / -1; display: grid; gap: 8px; }
.kd-explorable .kd-losses .kd-picker { padding-left: 70px; }
.kd-explorable .kd-losses legend { width: 62px; margin-left: -70px; padding-right: 0; }
.kd-explorable .kd-chip-faulty { border-style: dashed; }
.kd-explorable .kd-formula { grid-column: 1 / -1; min-height: 1.4em; }
.kd-explorable .kd-run { grid-column: 1 / -1; display: grid; grid-template-columns: 1fr auto auto; gap: 10px; align-items: center; }
.kd-explorable .kd-play { min-width: 68px; }
.kd-explorable .kd-descent-signs { grid-column: 1 / -1; margin: 0; }
.kd-explorable .kd-part-descent-plain, .kd-explorable .kd-part-descent-soft,
.kd-explorable .kd-part-descent-goal, .kd-explorable .kd-part-descent-far { grid-column: span 12; }
.kd-explorable .kd-descent-signs svg.kd-sign { display: inline-block; width: 12px; height: 12px; margin-right: 6px; vertical-align: -1px; }
.kd-explorable .kd-numbers { margin-top: 8px; }
.kd-explorable .kd-numbers summary { cursor: pointer; width: fit-content; }
.kd-explorable .kd-numbers summary:focus-visible { outline: 3px solid var(--kd-bar); outline-offset: 2px; }
.kd-explorable .kd-scroll { overflow-x: auto; margin-top: 6px; }
.kd-explorable .kd-numbers table { border-collapse: collapse; font-size: 12px; color: inherit; background: none; }
.kd-explorable .kd-numbers th, .kd-explorable .kd-numbers td {
  padding: 3px 9px; text-align: right; white-space: nowrap; background: none; color: inherit; }
.kd-explorable .kd-numbers th { font-weight: 600; }
.kd-explorable .kd-numbers tbody tr:last-child { border-top: 1px solid var(--kd-muted); }
.kd-explorable .kd-summary { display: block; min-height: 2.8em; margin-top: 14px; padding-top: 10px; border-top: 1px solid var(--kd-soft); }

@container (max-width: 780px) {
  .kd-explorable .kd-controls-two .kd-ticks i { display: none; }
}
@container (max-width: 700px) {
  .kd-explorable .kd-part-loss-chances, .kd-explorable .kd-part-loss-gradient { grid-column: 1 / -1; }
  .kd-explorable .kd-controls-two { grid-template-columns: minmax(0, 1fr) auto; }
  .kd-explorable .kd-controls-two .kd-slider { grid-column: 1 / -1; }
  .kd-explorable .kd-run { grid-template-columns: auto auto 1fr; }
}
@container (max-width: 560px) {
  .kd-explorable .kd-parts { grid-template-columns: minmax(0, 1fr); }
  .kd-explorable .kd-part { grid-column: 1; }
  .kd-explorable .kd-ticks i { display: none; }
  .kd-explorable .kd-losses .kd-picker { padding-left: 0; }
  .kd-explorable .kd-losses legend { width: 100%; margin-left: 0; padding-top: 0; }
  .kd-explorable .kd-descent-signs { grid-column: 1; }
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
