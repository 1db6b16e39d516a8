/* kdlab explorables: small panels that answer to a slider within a frame.
 *
 * A panel has no kernel, no server and no library behind it. Python puts the numbers that a model
 * computed into the page as JSON (kdlab/lab/explorable.py); this file does the rest with SVG.
 * Its arithmetic has a twin in Python (the panel's file names it), and tests/browser compares the two.
 *
 * Here is what panels share; what one panel has alone is in panels/NAME.js. A page gets this file with one panel in
 * section 5, so both see each other's names and nobody else does. A new panel is one new file: it defines
 *   const PANEL = { name: "NAME", make(form, data) { build the panel }, style: `its own rules` };
 * and uses no name that is taken here. Its rules begin with ".kd-explorable .kd-live": one class more than the rules
 * here, so that they win whatever other panels' styles come after them on the page.
 *
 * Reading order: 1 arithmetic, 2 tools, 3 charts, 4 controls and parts, 5 the panel, 6 style, 7 mounting.
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

  function logSoftmax(scores) {
    const largest = Math.max(...scores);
    const rest = Math.log(scores.reduce((sum, score) => sum + Math.exp(score - largest), 0));
    return scores.map((score) => score - largest - rest);
  }

  const dot = (a, b) => a.reduce((sum, value, k) => sum + value * b[k], 0);

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

  /** "96.6 %" for 0.966. */
  function percentText(share) {
    return `${(Math.round(1000 * share) / 10).toFixed(1)} %`;
  }

  /** A true minus sign, and no minus before zero. */
  function fixedText(value, places) {
    const text = value.toFixed(places);
    return text.replace("-", Number(text) === 0 ? "" : "\u2212");
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

  // ------------------------------------------------------------------ 4. controls and parts

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

  // ------------------------------------------------------------------ 5. the panel
  // kdlab/lab/explorable.py puts panels/NAME.js in place of the next line.
  // @panel

  // ------------------------------------------------------------------ 6. style
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
.kd-explorable .kd-part { grid-column: span 12; min-width: 0; display: flex; flex-direction: column; }
.kd-explorable .kd-sum-name { color: var(--kd-muted); }
.kd-explorable .kd-sum b { font-weight: 700; }
.kd-explorable .kd-heading { font-weight: 600; margin-bottom: 6px; }
.kd-explorable .kd-note { color: var(--kd-muted); }
.kd-explorable .kd-keys { display: flex; flex-wrap: wrap; gap: 2px 14px; margin-top: 2px; color: var(--kd-muted); font-size: 12px; }
.kd-explorable .kd-key { display: inline-flex; align-items: center; gap: 6px; }
.kd-explorable .kd-swatch { width: 18px; height: 10px; }
.kd-explorable .kd-swatch-pale { background: color-mix(in srgb, currentColor 40%, transparent); height: 12px; }
.kd-explorable .kd-swatch-bar { background: var(--kd-bar); }
.kd-explorable .kd-swatch-outline { border: 1.5px dashed currentColor; }

.kd-explorable svg { display: block; width: 100%; overflow: visible; fill: currentColor; }
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
.kd-explorable .kd-lane-student { fill: var(--kd-bar); }
.kd-explorable .kd-lane-teacher { fill: none; stroke: currentColor; stroke-width: 1.25; stroke-dasharray: 3 2.5; }
.kd-explorable .kd-lane-plain, .kd-explorable .kd-lane-sum, .kd-explorable .kd-swatch-sum {
  fill: currentColor; background: currentColor; }
.kd-explorable .kd-lane-soft, .kd-explorable .kd-swatch-soft { fill: var(--kd-soft-part); background: var(--kd-soft-part); }
.kd-explorable .kd-lane-hard, .kd-explorable .kd-swatch-hard { fill: var(--kd-hard-part); background: var(--kd-hard-part); }
.kd-explorable .kd-lanes .kd-beyond { stroke-width: 1.5; }
.kd-explorable .kd-lane-pale { fill: var(--kd-pale); }
.kd-explorable .kd-summary { display: block; min-height: 2.8em; margin-top: 14px; padding-top: 10px; border-top: 1px solid var(--kd-soft); }

@container (max-width: 780px) {
  .kd-explorable .kd-controls-two .kd-ticks i { display: none; }
}
@container (max-width: 700px) {
  .kd-explorable .kd-controls-two { grid-template-columns: minmax(0, 1fr) auto; }
  .kd-explorable .kd-controls-two .kd-slider { grid-column: 1 / -1; }
}
@container (max-width: 560px) {
  .kd-explorable .kd-parts { grid-template-columns: minmax(0, 1fr); }
  .kd-explorable .kd-live .kd-parts .kd-part { grid-column: 1; } /* whatever its panel says */
  .kd-explorable .kd-ticks i { display: none; }
}
`;

  // ------------------------------------------------------------------ 7. mounting

  /** Turn one container into a live panel. Safe to call again: on the same element it does nothing. */
  function mount(root) {
    const source = root.querySelector("script.kd-data");
    if (root.dataset.kdPanel !== PANEL.name || !source || root.kdlabMounted) return; // others bring their own script
    root.kdlabMounted = true; // a property, not an attribute: a copy of the markup starts afresh
    root.querySelectorAll(".kd-live, .kd-style").forEach((dead) => dead.remove());
    const { colors, ...data } = JSON.parse(source.textContent);
    for (const [name, value] of Object.entries(colors)) root.style.setProperty(`--kd-${name}`, value);
    const form = element("form", { class: "kd-live", "aria-label": root.dataset.kdTitle, autocomplete: "off" });
    form.addEventListener("submit", (event) => event.preventDefault());
    keepKeys(form);
    const fallback = root.querySelector(".kd-fallback");
    root.append(element("style", { class: "kd-style" }, STYLE, PANEL.style), form);
    try {
      PANEL.make(form, data);
      fallback.style.display = "none";
    } catch (error) {
      form.remove(); // the static picture stays
      throw error;
    }
  }

  document.querySelectorAll(".kd-explorable").forEach(mount);
})();
