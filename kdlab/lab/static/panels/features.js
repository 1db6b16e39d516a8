/* The features panel: what losses see of a layer, and which changes of the student's features they do not notice.
 * It is given no features, only what losses can see of them: energies and sums over channels, and inner products
 * between images. explorables.js says how this file gets into a page; the twin, which changes the features themselves,
 * is kdlab/lab/features_twin.py. */

const LOSSES = ["attention", "similarity", "distance", "angle", "projector"];
const LOSS_NAMES = ["attention transfer", "similarity", "distance", "angle", "best projector"];
const SAMPLE_FACTOR = 5;

const CHANGES = [
  { kind: "none", chip: "as it is", text: () => "as it is",
    why: "Choose a change of the student\u2019s features. What a loss does not notice, it cannot teach." },
  { kind: "scale", chip: "times s", text: (amount) => `times ${amount}`,
    why: "A common factor: maps, rows and distances are divided by a length of their own, and the projector learns the "
      + "factor. A plain hint, which compares the features themselves, would move." },
  { kind: "rotate", chip: "channels rotated", text: () => "channels rotated",
    why: "A rotation mixes the channels at every position: each square here keeps its value, and the projector turns the "
      + "rotation back. A plain hint would move." },
  { kind: "constant", chip: "plus c", text: (amount) => `plus ${amount} on every channel`,
    why: "A constant leaves all differences between images as they are, and the projector has a bias for it. "
      + "Energies and inner products are taken from the origin, which has moved." },
  { kind: "sample", chip: `this image \u00d7 ${SAMPLE_FACTOR}`, text: (_, image) => `image ${image + 1} times ${SAMPLE_FACTOR}`,
    why: "Each map is divided by its own length, so one image\u2019s scale is lost. Relations between images keep it, "
      + "and one projector must fit all images." },
  { kind: "roll", chip: "shifted by a pixel", text: () => "shifted by a pixel",
    why: "Every image\u2019s features move by one pixel, and the last column comes back as the first: the same reordering "
      + "for all images, which no inner product between images notices. Where in the image has changed." },
];

// ---- arithmetic

/** Divide by the L2 norm; zeros stay zeros. */
function unitLength(values) {
  const length = Math.sqrt(dot(values, values));
  return length > 0 ? values.map((value) => value / length) : values;
}

/** Values of one image from whole numbers and its unit. */
function unpack(packed, image) {
  return packed.values[image].map((value) => value * packed.unit[image]);
}

/** Everything to the right by one; what leaves a row comes back at its start. */
function rolled(values, [, columns]) {
  return values.map((_, at) => values[at % columns ? at - 1 : at + columns - 1]);
}

/** The student's energies of one image after a change: means over channels of F^2. Factors go out with the length. */
function energyAfter(layer, size, image, { kind, amount }) {
  const key = size.join("x");
  if (kind === "roll" && layer.rolled[key]) return unpack(layer.rolled[key], image);
  const energy = unpack(layer.energy[key], image);
  if (kind === "roll") return rolled(energy, size);
  if (kind !== "constant") return energy;
  const sums = unpack(layer.sums[key], image);
  return energy.map((value, at) => value + 2 * amount * sums[at] + amount ** 2);
}

/** A symmetric matrix from its upper triangle. */
function fullMatrix(upper, n) {
  const at = (i, j) => i * n - (i * (i - 1)) / 2 + j - i;
  return Array.from({ length: n }, (_, i) =>
    Array.from({ length: n }, (_, j) => upper[i < j ? at(i, j) : at(j, i)]));
}

/** The student's inner products between images after a change; a rotation or a shift leaves them as they are. */
function gramAfter(layer, n, { kind, amount, image }) {
  const gram = fullMatrix(layer.gram, n);
  const factor = (i) => (kind === "scale" ? amount : kind === "sample" && i === image ? SAMPLE_FACTOR : 1);
  const c = kind === "constant" ? amount : 0;
  return gram.map((row, i) => row.map((value, j) =>
    factor(i) * factor(j) * value + c * (layer.means[i] + layer.means[j]) + c ** 2));
}

function huber(gap) {
  return Math.abs(gap) < 1 ? gap ** 2 / 2 : Math.abs(gap) - 0.5;
}

/** Distances over their mean, and the cosine at j between i and k, from inner products alone. */
function relations(gram) {
  const n = gram.length;
  const indices = gram.map((_, i) => i);
  const rounding = 1e-9 * Math.max(...indices.map((i) => gram[i][i]));
  const apart = gram.map((row, i) => row.map((value, j) => {
    const squared = gram[i][i] + gram[j][j] - 2 * value;
    return squared > rounding ? Math.sqrt(squared) : 0; // two images with the same features
  }));
  const mean = apart.reduce((sum, row) => sum + row.reduce((all, value) => all + value, 0), 0) / (n * (n - 1));
  return {
    distance: (i, j) => (mean > 0 ? apart[i][j] / mean : 0),
    cosine(i, j, k) {
      const lengths = apart[i][j] * apart[k][j];
      return lengths > 0 ? (gram[i][k] - gram[i][j] - gram[j][k] + gram[j][j]) / lengths : 0;
    },
  };
}

/** Everything the panel shows of a pair of layers. Twin: features_state in features_twin.py. */
function featuresState(teacher, student, residual, n, change) {
  const images = Array.from({ length: n }, (_, i) => i);
  const size = teacher.size && student.size && teacher.size.map((side, i) => Math.min(side, student.size[i]));
  const maps = size && {
    teacher: images.map((i) => unitLength(unpack(teacher.energy[size.join("x")], i))),
    student: images.map((i) => unitLength(energyAfter(student, size, i, change))),
  };
  const inner = [fullMatrix(teacher.gram, n), gramAfter(student, n, change)];
  const [known, now] = inner.map((gram) => gram.map(unitLength));
  const [shape, changed] = inner.map(relations);
  const sums = { attention: 0, similarity: 0, distance: 0, angle: 0 };
  for (const j of images) {
    sums.similarity += known[j].reduce((sum, value, i) => sum + (now[j][i] - value) ** 2, 0);
    if (maps) sums.attention += Math.sqrt(maps.teacher[j].reduce((sum, a, at) => sum + (maps.student[j][at] - a) ** 2, 0));
    for (const i of images) {
      if (i === j) continue;
      sums.distance += huber(changed.distance(i, j) - shape.distance(i, j));
      for (const k of images) {
        if (k !== i && k !== j) sums.angle += huber(changed.cosine(i, j, k) - shape.cosine(i, j, k));
      }
    }
  }
  const left = residual && { sample: residual.sample[change.image], roll: residual.roll }[change.kind];
  return {
    size, maps, grams: { teacher: known, student: now },
    losses: {
      attention: maps ? sums.attention / n : null,
      similarity: sums.similarity / n ** 2,
      distance: sums.distance / (n * (n - 1)),
      angle: sums.angle / (n * (n - 1) * (n - 2)),
      projector: residual ? left ?? residual.plain : null,
    },
  };
}

/** Whether a loss moved by more than rounding. */
function notices(now, before) {
  return now !== null && Math.abs(now - before) > 1e-6 * Math.max(now, before) + 1e-9;
}

// ---- words

/** Three decimals, and more of them for what is small; seven at most. */
function lossText(value) {
  if (value === null) return "n/a";
  let places = 3;
  while (value >= 1e-7 && value * 10 ** places < 99.5 && places < 7) places += 1;
  return fixedText(value, places);
}

/** By how much a loss moved: +38 %, \u22120.4 %; or that it did not. */
function movedText(now, before) {
  if (now === null) return "";
  if (!notices(now, before)) return "blind";
  if (before < 1e-9) return "from zero";
  const share = 100 * (now / before - 1);
  const text = fixedText(share, Math.abs(share) < 9.95 ? 1 : 0);
  return text === "0.0" ? "moved" : `${share > 0 ? "+" : ""}${text} %`;
}

/** The sentence under the panel; twin: features_summary. */
function featuresSummary(losses, before, { start, what, changed }) {
  const words = `${start}, ${what}: ${LOSSES.map((name) => `${name} ${lossText(losses[name])}`).join(", ")}`;
  if (!changed) return `${words}; nothing is changed`;
  const seen = LOSSES.filter((name) => notices(losses[name], before[name]));
  const blind = LOSSES.filter((name) => losses[name] !== null && !seen.includes(name));
  return `${words}; noticed by ${seen.join(", ") || "none of them"}${blind.length ? `; blind: ${blind.join(", ")}` : ""}`;
}

// ---- parts

/** A picture of squares, at most `most` a side. A negative one differs by colour and mark; `plus`: positive ones are marked too. */
function squares(host, { most, labels, plus }) {
  const margin = labels ? 18 : 0;
  const svg = shape("svg", { role: "img", class: "kd-squares" });
  const frame = svg.appendChild(shape("rect", { class: "kd-frame" }));
  const cells = Array.from({ length: most ** 2 }, () => ({
    rect: svg.appendChild(shape("rect", { class: "kd-square" })),
    mark: svg.appendChild(shape("path", { class: "kd-signs" })),
  }));
  const names = (labels || []).flatMap((label, i) => ["end", "middle"].map((anchor) => ({
    i, across: anchor === "middle",
    text: svg.appendChild(shape("text", { class: "kd-tick", "text-anchor": anchor }, String(label))),
  })));
  host.append(svg);
  let size = [1, 1];
  let width = 150;

  function layout(newWidth) {
    width = newWidth;
    const side = Math.min(24, Math.floor((width - margin - 1) / size[1]));
    const [across, down] = [side * size[1], side * size[0]];
    set(svg, { height: down + margin + 1, viewBox: `0 0 ${width} ${down + margin + 1}` });
    set(frame, { x: margin + 0.5, y: margin + 0.5, width: across, height: down });
    cells.forEach(({ rect, mark }, index) => {
      const [row, column] = [Math.floor(index / size[1]), index % size[1]];
      const used = row < size[0];
      const [x, y] = [margin + column * side, margin + row * side];
      set(rect, { x: x + 1, y: y + 1, width: Math.max(0, side - 1), height: Math.max(0, side - 1), visibility: used ? "visible" : "hidden" });
      mark.setAttribute("transform", `translate(${x + side / 2 + 0.5} ${y + side / 2 + 0.5})`);
    });
    for (const { i, across: top, text } of names) {
      const middle = margin + (i + 0.5) * side;
      set(text, top ? { x: middle, y: margin - 4 } : { x: margin - 4, y: middle, dy: "0.36em" });
    }
  }

  onWidth(host, layout);
  return {
    setSize(newSize) {
      if (newSize.join() === size.join()) return;
      size = newSize;
      layout(width);
    },
    /** Full colour at `scale`; `chosen` is the label in bold. */
    update(values, scale, name, chosen) {
      svg.setAttribute("aria-label", name);
      cells.forEach(({ rect, mark }, index) => {
        const value = index < size[0] * size[1] ? values[index] : 0;
        const share = Math.min(1, Math.abs(value) / scale);
        rect.classList.toggle("kd-minus", value < 0);
        set(rect, { "fill-opacity": share.toFixed(3), "data-value": value });
        mark.classList.toggle("kd-strong", share > 0.5);
        mark.setAttribute("d", share < 0.2 ? "" : value < 0 ? "M-3,0H3" : plus ? "M-3,0H3M0,-3V3" : "");
      });
      for (const { i, text } of names) text.classList.toggle("kd-chosen", i === chosen);
    },
  };
}

/** Teacher, student and their difference beside each other. */
function trio(host, options) {
  const titles = ["Teacher", "Student", "Student \u2212 teacher"];
  const node = element("div", { class: "kd-trio" });
  host.append(node);
  const blocks = titles.map((title, i) => {
    const canvas = element("div", { class: "kd-canvas" });
    const scale = element("div", { class: "kd-note" });
    node.append(element("div", {}, element("div", { class: "kd-note" }, title), canvas, scale));
    return { title, scale, grid: squares(canvas, { ...options, plus: i === 2 }) };
  });
  return {
    node,
    /** `scale` holds full colour for values and for differences, and does not move with a change. */
    update({ size, teacher, student, scales, what, chosen }) {
      const values = [teacher, student, student.map((value, at) => value - teacher[at])];
      blocks.forEach(({ title, scale, grid }, i) => {
        const full = scales[i < 2 ? 0 : 1];
        grid.setSize(size);
        const [low, high] = [Math.min(...values[i]), Math.max(...values[i])];
        const at = values[i].indexOf(high);
        grid.update(values[i], full, `${title}, ${what}: from ${fixedText(low, 2)} to ${fixedText(high, 2)}, most in row `
          + `${Math.floor(at / size[1]) + 1}, column ${(at % size[1]) + 1}`, chosen);
        scale.textContent = `full: ${i < 2 ? "" : "\u00b1"}${full.toFixed(2)}`;
      });
    },
  };
}

/** The same in numbers; filled only while it is open. */
function numberTables(most, n) {
  const parts = [["map", most], ["images", n]].flatMap(([kind, side]) => ["teacher", "student"].map((whose) => {
    const rows = Array.from({ length: side }, () => Array.from({ length: side }, () => element("td")));
    const caption = element("caption");
    const table = element("table", {}, caption,
      element("tbody", {}, ...rows.map((cells, i) => element("tr", {}, element("th", { scope: "row" }, `${i + 1}`), ...cells))));
    return { kind, whose, rows, caption, table };
  }));
  const node = element("details", { class: "kd-matrices" },
    element("summary", {}, "Maps and Gram matrices in numbers"),
    element("div", { class: "kd-matrices-wide kd-matrices-grid" }, ...parts.map(({ table }) => table)));
  let last = null;

  function fillTables() {
    if (!node.open || !last) return;
    for (const { kind, whose, rows, caption, table } of parts) {
      const { size, values } = last[kind][whose];
      table.hidden = !size;
      if (!size) continue;
      caption.textContent = last[kind].caption[whose];
      rows.forEach((cells, i) => {
        cells[0].parentNode.hidden = i >= size[0];
        cells.forEach((cell, j) => {
          cell.hidden = j >= size[1];
          cell.textContent = i < size[0] && j < size[1] ? fixedText(values[i * size[1] + j], 3) : "";
        });
      });
    }
  }

  node.addEventListener("toggle", fillTables);
  return { node, update(state) { last = state; fillTables(); } };
}

/** Small pictures to choose an image from. */
function digitPicker({ images, rows, columns, labels, changed }) {
  const inputs = images.map((_, index) => {
    const input = element("input", { type: "radio", name: "image", value: index, class: "kd-radio" });
    input.addEventListener("change", () => changed(index));
    return input;
  });
  const choices = images.map((pixels, index) => {
    const picture = shape("svg", { viewBox: `0 0 ${columns} ${rows}`, class: "kd-digit-pixels" });
    pixels.forEach((value, at) => {
      if (value > 0) picture.append(shape("rect", { x: at % columns, y: Math.floor(at / columns), width: 1, height: 1, "fill-opacity": value }));
    });
    const name = `image ${index + 1}, labelled ${labels[index]}`;
    return element("label", { title: name }, inputs[index],
      element("span", { class: "kd-digit", "aria-hidden": "true" }, picture), element("span", { class: "kd-hidden" }, name));
  });
  const node = element("fieldset", { class: "kd-picker" }, element("legend", {}, "Image"), ...choices);
  return { node, set(index) { inputs[index].checked = true; } };
}

/** Words to choose from, in a group of their own. */
function wordPicker(name, legend, cases, changed) {
  const picker = casePicker({ cases, legend, changed });
  for (const input of picker.node.querySelectorAll("input")) input.name = name;
  return picker;
}

// ---- the panel

/**
 * What losses see of a layer.
 * data: images[n][rows * columns], rows, columns, labels[n], factors, constants,
 *       teacher[layers] {name, shape, size, gram, energy: {size: {unit[n], values[n][]}}},
 *       students[] {name, layers[] (as the teacher's, with means, sums and rolled), residual[teacher][student]},
 *       start {image, teacherLayer, studentLayer, factor, constant}.
 */
function featuresPanel(form, data) {
  const { images, labels, teacher, students, factors, constants } = data;
  const n = images.length;
  const start = () => ({ ...data.start, student: 0, change: 0 });
  const state = start();
  const most = Math.max(1, ...[teacher, ...students.map(({ layers }) => layers)].flat().flatMap(({ size }) => size || []));

  const choose = (key) => (index) => { state[key] = index; draw(); };
  const pickers = {
    image: digitPicker({ ...data, changed: choose("image") }),
    student: wordPicker("student", "Student", students.map(({ name }) => name), choose("student")),
    teacherLayer: wordPicker("teacher-layer", "Teacher\u2019s layer", teacher.map(({ name }) => name), choose("teacherLayer")),
    studentLayer: wordPicker("student-layer", "Student\u2019s layer", students[0].layers.map(({ name }) => name), choose("studentLayer")),
    change: wordPicker("change", "Student\u2019s features", CHANGES.map(({ chip }) => chip), choose("change")),
  };
  /** A slider that, once moved, is the change. */
  const amountSlider = (kind, key, options) => stepSlider({
    ...options,
    changed(index) {
      state[key] = index;
      state.change = CHANGES.findIndex((change) => change.kind === kind);
      draw();
    },
  });
  const sliders = {
    factor: amountSlider("scale", "factor", {
      label: "All features times s", steps: factors, text: (value) => `s = ${value}`,
      landmarks: { [factors[0]]: "", 1: "as it is", [factors.at(-1)]: "" },
    }),
    constant: amountSlider("constant", "constant", {
      label: "Every channel plus c, in units of RMS", steps: constants, text: (value) => `c = ${value}`,
      landmarks: { [constants[0]]: "as it is", 1: "", [constants.at(-1)]: "" },
    }),
  };
  const reset = element("button", { type: "button", class: "kd-reset" }, "Reset");
  reset.addEventListener("click", () => { Object.assign(state, start()); draw(); });

  const places = part("features-maps", "");
  const noMap = element("div", { class: "kd-note" }, "One of these layers is a vector: it has no positions, so there is "
    + "no map, and attention transfer is not defined.");
  const mapTrio = trio(places.canvas, { most });
  places.canvas.append(noMap);
  const alike = part("features-images", "Gram matrices, each row at length 1");
  const imageTrio = trio(alike.canvas, { most: n, labels });
  alike.node.append(element("div", { class: "kd-note" }, "A row and a column for each image; digits are their labels."));

  const bars = part("features-losses", `Losses, where 1 is \u201c${shorten(students[0].name, 24)}\u201d as it is`,
    element("div", { class: "kd-keys" }, keyEntry("bar", "now"), keyEntry("pale", "this student as it is")));
  const lossChart = laneChart(bars.canvas, {
    count: LOSSES.length, rowHeight: 26, nameWidth: 130, nameLength: 18,
    lanes: [{ kind: "pale", top: -9, height: 18 }, { kind: "student", top: -5, height: 10 }],
    numbers: [{ title: "value", width: 72 }, { title: "moved by", width: 74 }],
  });
  lossChart.setAxis({ domain: [0, 2.2], ticks: [0, 0.5, 1, 1.5, 2] });
  const why = element("div", { class: "kd-note kd-why" });
  bars.node.append(why);
  const table = numberTables(most, n);
  const line = element("output", { class: "kd-summary", "aria-live": "polite" });
  form.append(
    element("div", { class: "kd-controls kd-controls-two kd-controls-features" }, ...Object.values(pickers).map(({ node }) => node),
      sliders.factor.node, sliders.constant.node, reset),
    element("div", { class: "kd-parts" }, places.node, alike.node, bars.node),
    line, table.node);

  function stateOf(student, change) {
    const { teacherLayer: t, studentLayer: s } = state;
    return featuresState(teacher[t], student.layers[s], student.residual[t][s], n, change);
  }

  function draw() {
    const student = students[state.student];
    const { kind, text, why: reason } = CHANGES[state.change];
    const amount = { scale: factors[state.factor], constant: constants[state.constant] }[kind];
    const change = { kind, amount, image: state.image };
    const still = { kind: "none", image: state.image };
    const [now, before] = [stateOf(student, change), stateOf(student, still)];
    const reference = state.student ? stateOf(students[0], still) : before;
    const layers = [teacher[state.teacherLayer], student.layers[state.studentLayer]];
    const changed = !(kind === "none" || (kind === "scale" && amount === 1) || (kind === "constant" && amount === 0)
      || (kind === "roll" && !layers[1].size));

    for (const [name, picker] of Object.entries(pickers)) picker.set(state[name]);
    for (const [name, slider] of Object.entries(sliders)) slider.set(state[name]);
    why.textContent = kind === "roll" && !changed ? "A vector has no pixels to shift." : reason;
    drawMaps(now, before, layers);
    drawGrams(now, before);
    drawLosses(now.losses, before.losses, reference.losses, changed);
    fillNumbers(now);
    line.textContent = featuresSummary(now.losses, before.losses, {
      start: `${student.name}, ${layers[1].name} beside the teacher\u2019s ${layers[0].name}`,
      what: text(amount, state.image), changed,
    });
  }

  /** Full colour for values and differences, from the student as it is, so that a change does not move it. */
  function scalesOf(one, other) {
    const largest = Math.max(...one.map(Math.abs), ...other.map(Math.abs)) || 1;
    return [largest, largest / 2];
  }

  function drawMaps(now, before, [known, mine]) {
    places.heading.textContent = `Attention maps, image ${state.image + 1}: ${known.shape} and ${mine.shape}`;
    mapTrio.node.hidden = !now.maps;
    noMap.hidden = Boolean(now.maps);
    if (!now.maps) return;
    const [one, other] = [now.maps.teacher[state.image], now.maps.student[state.image]];
    mapTrio.update({
      size: now.size, teacher: one, student: other, scales: scalesOf(one, before.maps.student[state.image]),
      what: `attention map of image ${state.image + 1}`,
    });
  }

  function drawGrams(now, before) {
    const [one, other, was] = [now.grams.teacher, now.grams.student, before.grams.student].map((rows) => rows.flat());
    imageTrio.update({
      size: [n, n], teacher: one, student: other, scales: scalesOf(one, was), chosen: state.image,
      what: `inner products between ${n} images`,
    });
  }

  function drawLosses(losses, before, reference, changed) {
    const share = (name, value) => (value === null ? null
      : [0, reference[name] > 1e-9 ? value / reference[name] : value > 1e-9 ? Infinity : 0]);
    lossChart.update({
      name: `Losses: ${LOSSES.map((name, i) => `${LOSS_NAMES[i]} ${lossText(losses[name])}`
        + (changed && losses[name] !== null ? `, ${movedText(losses[name], before[name])}` : "")).join("; ")}`,
      items: LOSSES.map((name, i) => ({
        name: LOSS_NAMES[i],
        spans: [share(name, before[name]), share(name, losses[name])],
        numbers: [losses[name] === null && name === "attention" ? "no map" : lossText(losses[name]),
          changed ? movedText(losses[name], before[name]) : ""],
        data: { value: losses[name] ?? "n/a", before: before[name] ?? "n/a",
          moved: changed && losses[name] !== null ? (notices(losses[name], before[name]) ? "yes" : "blind") : "" },
      })),
    });
  }

  function fillNumbers({ size, maps, grams }) {
    const entry = (name, sides, one, other) => ({
      caption: { teacher: `Teacher\u2019s ${name}`, student: `Student\u2019s ${name}` },
      teacher: { size: sides, values: one }, student: { size: sides, values: other },
    });
    table.update({
      map: entry(`map of image ${state.image + 1}`, size, maps && maps.teacher[state.image], maps && maps.student[state.image]),
      images: entry("Gram matrix, rows at length 1", [n, n], grams.teacher.flat(), grams.student.flat()),
    });
  }

  draw();
}

const PANEL = {
  name: "features",
  make: featuresPanel,
  style: `
.kd-explorable .kd-live .kd-digit { display: block; width: 42px; height: 42px; padding: 3px; border: 1px solid var(--kd-soft); border-radius: 6px; }
.kd-explorable .kd-live label:hover .kd-digit { border-color: currentColor; }
.kd-explorable .kd-live .kd-radio:checked + .kd-digit { border: 3px solid var(--kd-bar); padding: 1px; }
.kd-explorable .kd-live .kd-radio:focus-visible + .kd-digit { outline: 3px solid var(--kd-bar); outline-offset: 2px; }
.kd-explorable .kd-live .kd-digit-pixels { height: auto; shape-rendering: crispEdges; }
.kd-explorable .kd-live .kd-controls-features { grid-template-columns: 1fr 1fr auto; }
.kd-explorable .kd-live .kd-part-features-losses { grid-column: 1 / -1; }
.kd-explorable .kd-live .kd-trio { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 14px; }
.kd-explorable .kd-live .kd-trio[hidden], .kd-explorable .kd-live .kd-note[hidden], .kd-explorable .kd-live .kd-matrices [hidden] { display: none; }
.kd-explorable .kd-live .kd-trio .kd-note { font-size: 12px; min-height: 17px; }
.kd-explorable .kd-live .kd-frame { fill: none; stroke: var(--kd-soft); }
.kd-explorable .kd-live .kd-square { fill: var(--kd-bar); shape-rendering: crispEdges; }
.kd-explorable .kd-live .kd-square.kd-minus { fill: var(--kd-first); }
.kd-explorable .kd-live .kd-signs { fill: none; stroke: currentColor; stroke-width: 1.25; }
.kd-explorable .kd-live .kd-signs.kd-strong { stroke: var(--jp-layout-color1, #fff); }
.kd-explorable .kd-live .kd-chosen { font-weight: 700; fill: currentColor; }
.kd-explorable .kd-live .kd-row[data-moved="blind"] .kd-number:last-child { font-weight: 700; }
.kd-explorable .kd-live .kd-why { margin-top: 8px; min-height: 2.8em; }
.kd-explorable .kd-live .kd-matrices { margin-top: 8px; }
.kd-explorable .kd-live .kd-matrices summary { cursor: pointer; width: fit-content; }
.kd-explorable .kd-live .kd-matrices summary:focus-visible { outline: 3px solid var(--kd-bar); outline-offset: 2px; }
.kd-explorable .kd-live .kd-matrices-wide { overflow-x: auto; margin-top: 6px; }
.kd-explorable .kd-live .kd-matrices-grid { display: grid; grid-template-columns: repeat(2, max-content); gap: 12px 24px; }
.kd-explorable .kd-live .kd-matrices table { border-collapse: collapse; font-size: 12px; color: inherit; background: none; margin: 0; }
.kd-explorable .kd-live .kd-matrices caption { text-align: left; font-weight: 600; color: inherit; white-space: nowrap; }
.kd-explorable .kd-live .kd-matrices th, .kd-explorable .kd-live .kd-matrices td { padding: 2px 6px; text-align: right; background: none; color: inherit; }
@container (max-width: 700px) {
  .kd-explorable .kd-live .kd-controls-features { grid-template-columns: minmax(0, 1fr) auto; }
  .kd-explorable .kd-live .kd-part-features-maps, .kd-explorable .kd-live .kd-part-features-images { grid-column: 1 / -1; }
  .kd-explorable .kd-live .kd-matrices-grid { grid-template-columns: max-content; }
}
`,
};
