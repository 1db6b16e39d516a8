/* An exercise card: a form that asks the kernel for a verdict and never loses what is typed.
 *
 * Python (kdlab/exercises/card.py) says what the exercise is (`content`) and where the learner stands (`state`); this
 * file draws both, keeps every change in the page's storage at once and in the learner's progress a second later, and
 * says so in words when the kernel is busy or gone. It knows no answers.
 *
 * Reading order: 1 tools, 2 fields, 3 memory, 4 the kernel, 5 the card.
 */

// ------------------------------------------------------------------ 1. tools

/** Create an element: element("p", {class: "kd-note"}, "text", child, ...); null children are left out. */
function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** An element whose inside is HTML that Python made; formulas in it are drawn as soon as it is on the page. */
function rich(tag, attributes, html) {
  const node = element(tag, { ...attributes, "data-kd-math": html.includes("$") ? "raw" : "none" });
  node.innerHTML = html;
  return node;
}

function prefixOf() {
  return `kd-${Math.random().toString(36).slice(2, 8)}`;
}

function phrase(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

function same(a, b) {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Put new children into a node, unless `key` says that they are those it has: nothing flickers or is read twice. */
function refill(node, key, make) {
  const text = JSON.stringify(key);
  if (node.kdKey === text) return;
  node.kdKey = text;
  node.replaceChildren(...make());
}

/** A place that opens and closes smoothly; what is put in goes into its only child. */
function fold(attributes = {}) {
  const inside = element("div", { class: "kd-fold-inside", ...attributes });
  return { node: element("div", { class: "kd-fold" }, inside), inside };
}

// ------------------------------------------------------------------ 2. fields
// A field has a `node`, `read()`, `write(value)`, and a place for its `mark`. Values are raw: what is in the field now.

const FIELDS = {
  number: (field, ui) => lineOfText(field, ui, { inputmode: "decimal", class: "kd-input kd-number" }),
  expression: (field, ui) => lineOfText(field, ui, { class: "kd-input kd-code-font", autocapitalize: "off" }),
  choice: (field, ui) => options(field, ui, "radio"),
  choices: (field, ui) => options(field, ui, "checkbox"),
  line: listing,
  text: longText,
  code: code,
};

function lineOfText(field, ui, attributes) {
  const id = ui.id(field.name);
  const input = element("input", { type: "text", id, autocomplete: "off", spellcheck: "false", ...attributes });
  const unit = field.unit ? element("span", { class: "kd-unit", id: `${id}-unit` }, field.unit) : null;
  const help = field.help ? rich("span", { class: "kd-help", id: `${id}-help` }, field.help) : null;
  const described = [unit, help, ui.mark(field)].filter(Boolean).map((node) => node.id);
  input.setAttribute("aria-describedby", described.join(" "));
  const label = rich("label", { for: id, class: "kd-label" }, field.label || ui.words.answer);
  const node = element("div", { class: "kd-field kd-row" }, label,
    element("span", { class: "kd-entry" }, input, unit, help), ui.mark(field));
  return { node, read: () => input.value, write: (value) => { input.value = value; } };
}

function options(field, ui, type) {
  const asked = ui.words[type === "radio" ? "answer_choice" : "answer_choices"];
  const inputs = [];
  const rows = field.options.map(({ id, text }) => {
    const input = ui.tick(type, field.name, id);
    inputs.push(input);
    return element("div", { class: "kd-option" }, input, rich("label", { for: input.id }, `<b>${id}</b> <span>${text}</span>`));
  });
  return { node: group(field.label || asked, ui.mark(field), ...rows), ...picker(inputs, type) };
}

/** The code of a bug hunt: every line is a radio button. */
function listing(field, ui) {
  const inputs = [];
  const rows = ui.listing.map((text, k) => {
    const number = element("span", { class: "kd-line-number" }, String(k + 1));
    if (!text.trim()) return element("div", { class: "kd-line kd-empty" }, number);
    const input = ui.tick("radio", field.name, k + 1);
    inputs.push(input);
    return element("div", { class: "kd-line" }, input,
      element("label", { for: input.id }, number, element("code", {}, text)));
  });
  const lines = element("div", { class: "kd-listing" }, ...rows);
  return { node: group(field.label || ui.words.answer_line, ui.mark(field), lines), ...picker(inputs, "radio") };
}

function group(title, mark, ...rows) {
  const legend = element("legend", { class: "kd-label" }, rich("span", {}, title), " ", mark);
  return element("fieldset", { class: "kd-field" }, legend, ...rows);
}

/** Reading and writing of radio buttons (the one value, or "") or of boxes (a list of values). */
function picker(inputs, type) {
  const picked = () => inputs.filter((input) => input.checked).map((input) => input.value);
  return {
    read: () => (type === "radio" ? picked()[0] ?? "" : picked()),
    write: (value) => inputs.forEach((input) => {
      input.checked = type === "radio" ? input.value === value : value.includes(input.value);
    }),
  };
}

function longText(field, ui) {
  const id = ui.id(field.name);
  const area = element("textarea", { id, class: "kd-input kd-text", rows: 6, "aria-describedby": ui.mark(field).id });
  return {
    node: element("div", { class: "kd-field" },
      rich("label", { for: id, class: "kd-label" }, field.label || ui.words.answer), area, ui.mark(field)),
    read: () => ({ text: area.value, ...ui.rubric.read() }),
    write: (value) => {
      if (area.value !== value.text) area.value = value.text;
      ui.rubric.write(value);
    },
  };
}

/** An answer that is written in a cell: what to start from, and how it gets here. */
function code(field, ui) {
  const copy = element("button", { type: "button", class: "kd-button kd-small" }, ui.words.copy);
  const source = element("pre", { class: "kd-source", tabindex: 0, "aria-label": ui.words.starter },
    element("code", {}, field.starter));
  copy.addEventListener("click", async () => {
    copy.textContent = (await copied(field.starter, source)) ? ui.words.copied : ui.words.copy;
    setTimeout(() => { copy.textContent = ui.words.copy; }, 2000);
  });
  const node = element("div", { class: "kd-field" },
    element("div", { class: "kd-source-head" }, element("span", { class: "kd-label" }, ui.words.starter), copy), source,
    rich("div", { class: "kd-help" }, field.help), ui.mark(field));
  return { node, read: () => "", write: () => {} };
}

/** Copy a text; where the page may not, select it so that Ctrl-C does. */
async function copied(text, node) {
  return navigator.clipboard.writeText(text).then(() => true).catch(() => {
    getSelection().selectAllChildren(node);
    return document.execCommand("copy");
  });
}

/** The points of an open question, to be ticked after one's own answer; empty until Python sends them. */
function rubric(ui, score) {
  const place = fold({ class: "kd-fold-inside kd-rubric" });
  const boxes = { points: [], flags: [] };
  let written = { points: null, flags: [] }; // points are null until something is ticked or scored
  const ticked = (kind) => boxes[kind].flatMap((box, k) => (box.checked ? [k] : []));
  const read = () => {
    if (!boxes.points.length) return written;
    const [points, flags] = [ticked("points"), ticked("flags")];
    return { points: written.points || points.length || flags.length ? points : null, flags };
  };
  const write = ({ points, flags }) => {
    written = { points, flags };
    boxes.points.forEach((box, k) => { box.checked = (points ?? []).includes(k); });
    boxes.flags.forEach((box, k) => { box.checked = flags.includes(k); });
  };
  const list = (kind, texts) => {
    boxes[kind] = texts.map((_, k) => ui.tick("checkbox", kind, k));
    return group(ui.words[`${kind}_title`], "", ...texts.map((text, k) =>
      element("div", { class: "kd-option" }, boxes[kind][k], rich("label", { for: boxes[kind][k].id }, text))));
  };
  const draw = (content) => {
    const before = read();
    place.node.classList.toggle("kd-open", Boolean(content));
    refill(place.inside, content, () => (content ? [
      element("div", { class: "kd-label" }, ui.words.model_title), rich("div", { class: "kd-quote" }, content.model),
      list("points", content.points), list("flags", content.flags), score] : []));
    write(before);
  };
  return { node: place.node, read, write, draw };
}

// ------------------------------------------------------------------ 3. memory
// What was typed on this page is kept here at once. Where storage is full or forbidden the draft still goes to Python.

function load(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}

function store(key, record) {
  try {
    localStorage.setItem(key, JSON.stringify(record));
  } catch { /* see above */ }
}

// ------------------------------------------------------------------ 4. the kernel

const PATIENCE = 8000; // milliseconds without a sign of life
const SHORT = 700; // after which waiting is worth a word

/** Requests to Python. `ask` resolves with the reply, or with {lost: true} where nobody answers. */
function kernelOf(model, el, signal) {
  const waiting = new Map();
  const kernel = model.widget_manager?.kernel;
  const busy = () => kernel?.status === "busy";
  let ended = false; // the process that knew this card is gone, whatever runs in its place
  const watch = (_, status) => { ended ||= ["dead", "restarting", "autorestarting", "terminating"].includes(status); };
  kernel?.statusChanged?.connect(watch);
  signal?.addEventListener("abort", () => kernel?.statusChanged?.disconnect(watch));
  const gone = () => ended || el.classList.contains("jupyter-widgets-disconnected");

  model.on("msg:custom", (message) => {
    const request = waiting.get(message.id);
    if (request && message.kind === "started") {
      request.started = true;
      request.say("checking");
    } else if (request) {
      request.end(message);
    }
  });

  function ask(kind, payload, say) {
    return new Promise((resolve) => {
      const id = `${prefixOf()}-${Date.now()}`;
      const sent = Date.now();
      const request = { say, started: false };
      const look = () => {
        const waited = Date.now() - sent;
        if (gone() || (!request.started && !busy() && waited > PATIENCE)) request.end({ lost: true });
        else if (!request.started && busy() && waited > SHORT) say("busy");
      };
      const timer = setInterval(look, 200);
      request.end = (reply) => {
        clearInterval(timer);
        waiting.delete(id);
        resolve(reply);
      };
      waiting.set(id, request);
      try {
        if (!gone()) model.send({ kind, id, ...payload });
      } catch {
        ended = true;
      }
      look();
    });
  }
  return { ask };
}

// ------------------------------------------------------------------ 5. the card

const SIGNS = { correct: "✓ ", incorrect: "✗ ", invalid: "? ", "not attempted": "… " };
const FOLLOW = "kdlab-card"; // event by which cards of one exercise on one page follow each other

function render({ model, el, signal }) {
  const prefix = prefixOf();
  const kernel = kernelOf(model, el, signal);
  const root = element("div", { class: "kd-card" });
  el.append(root);
  let stop = null;
  const build = () => {
    const focused = root.contains(document.activeElement);
    stop?.abort();
    stop = new AbortController();
    root.replaceChildren();
    card({ model, root, prefix, kernel, signal: stop.signal });
    if (focused) root.querySelector(".kd-quiet")?.focus(); // the switch of languages made all of this anew
  };
  build();
  model.on("change:content", build);
  signal?.addEventListener("abort", () => stop.abort());
  return () => stop.abort();
}

function card({ model, root, prefix, kernel, signal }) {
  const content = model.get("content");
  const words = content.words;
  const key = `kdlab:${model.get("state").home}:${content.slug}`;
  const listen = (target, name, handler) => target.addEventListener(name, handler, { signal });
  root.lang = words.language;

  // Parts. Buttons are never disabled, since that would drop the focus: they say why they do nothing.
  const button = (name, look = "") => element("button", { type: "button", class: `kd-button ${look}` }, words[name]);
  const check = element("button", { type: "submit", class: "kd-button kd-main" }, words.check);
  const hint = button("hint");
  const solution = button("solution");
  const score = button("score", "kd-main");
  const language = content.languages.length > 1 ? button("other_language", "kd-small kd-quiet") : null;
  const chip = element("span", { class: "kd-chip" });
  const kept = element("span", { class: "kd-kept" });
  const marks = new Map();
  const ui = {
    words,
    listing: content.listing,
    id: (name) => `${prefix}-${name}`,
    tick: (type, name, value) => element("input", { type, value, name: ui.id(name), id: ui.id(`${name}-${value}`) }),
    mark(field) {
      if (!marks.has(field.name)) {
        marks.set(field.name, element("span", { class: "kd-mark", id: `${prefix}-${field.name}-mark` }));
      }
      return marks.get(field.name);
    },
  };
  ui.rubric = rubric(ui, score);
  const fields = content.fields.map((field) => ({ name: field.name, ...FIELDS[field.type](field, ui) }));
  const verdict = fold();
  const hints = fold();
  const shown = fold();
  const status = element("div", { role: "status" }, verdict.node); // beside the button that was pressed last
  const heard = element("div", { "aria-live": "polite" }, hints.node);
  const title = rich("h4", { class: "kd-title", id: `${prefix}-title` }, content.title);
  const dots = element("span", { class: "kd-dots", "aria-hidden": "true" }, "●".repeat(content.difficulty),
    element("i", {}, "●".repeat(3 - content.difficulty)));
  const about = element("span", {}, content.about[0], " · ", dots, ` ${content.about.slice(1).join(" · ")}`);
  const form = element("form", { class: "kd-form", "aria-labelledby": title.id, novalidate: "" },
    element("div", {}, ...fields.map((field) => field.node)),
    content.help ? rich("div", { class: "kd-help" }, content.help) : null,
    element("div", { class: "kd-buttons" }, check, hint, content.kind === "open" ? null : solution,
      element("span", { class: "kd-side" }, kept, language)),
    ...(content.kind === "open" ? [heard, ui.rubric.node, status] : [status, heard, shown.node]));
  root.append(element("div", { class: "kd-head" }, title, element("div", { class: "kd-meta" }, about, chip)),
    rich("div", { class: "kd-prose kd-prompt" }, content.prompt), form);

  // What is in the fields, since when, and whether Python has it.
  let local = { values: null, at: 0, kept: true };
  let note = null; // {html, look}: said in place of the verdict until something happens
  let working = false;
  let timer = 0;
  let judged = model.get("state").answers;
  let seen = model.get("state").at; // by the kernel's clock, which need not be the page's
  const read = () => Object.fromEntries(fields.map((field) => [field.name, field.read()]));
  const write = (values) => fields.forEach((field) => { if (field.name in values) field.write(values[field.name]); });

  // ---------------------------------------------------------------- drawing

  function draw() {
    const state = model.get("state");
    chip.textContent = `${state.status === "solved" ? "✓ " : ""}${state.status_text}`;
    chip.dataset.kdStatus = state.status;
    drawButtons(state);
    drawVerdict(state);
    drawHints(state);
    shown.node.classList.toggle("kd-open", Boolean(state.solution));
    refill(shown.inside, state.solution, () => (state.solution ? [
      element("div", { class: "kd-box" }, element("div", { class: "kd-label" }, words.solution_title),
        rich("div", { class: "kd-prose" }, state.solution))] : []));
    ui.rubric.draw(state.rubric);
    const where = local.kept ? words.kept : note?.html === words.dead ? words.kept_here : "";
    kept.textContent = local.at === 0 || content.kind === "code" ? "" : where;
    typeset();
  }

  function drawButtons(state) {
    if (content.kind === "open") check.textContent = words[state.rubric ? "save_again" : "save_open"];
    check.classList.toggle("kd-main", !state.rubric);
    const next = state.hints.length + 1;
    hint.textContent = next > content.hints ? words.no_more_hints : phrase(words.hint, { k: next, n: content.hints });
    lock(hint, next > content.hints ? phrase(words.no_more_hints_why, { n: content.hints }) : "");
    solution.textContent = words[state.solution ? "solution_shown" : "solution"];
    lock(solution, state.solution ? words.solution_shown : state.may_see_solution ? "" : words.solution_locked);
  }

  function lock(node, why) {
    node.setAttribute("aria-disabled", String(Boolean(why)));
    node.title = why;
    node.setAttribute("aria-description", why);
  }

  function drawVerdict(state) {
    const about = state.verdict && !note ? state.verdict : null;
    const stale = Boolean(about) && isStale(state);
    for (const [name, mark] of marks) {
      const outcome = stale || !state.verdict ? "" : state.verdict.details[name] ?? "";
      mark.textContent = outcome ? words[`mark_${outcome}`] : "";
      mark.dataset.kdOutcome = outcome;
    }
    verdict.node.classList.toggle("kd-open", Boolean(note || about));
    refill(verdict.inside, [note, about, stale, state.checked_code, state.answers], () => {
      if (note) return [rich("div", { class: `kd-verdict kd-prose kd-${note.look}` }, note.html)];
      if (!about) return [];
      const box = element("div", { class: `kd-verdict kd-prose kd-${about.outcome.replace(" ", "-")}` },
        element("b", {}, element("span", { "aria-hidden": "true" }, SIGNS[about.outcome]), about.title), rich("div", { class: "kd-message" }, about.message));
      if (stale) box.prepend(element("p", { class: "kd-stale" }, words.stale));
      box.classList.toggle("kd-is-stale", stale);
      if (state.checked_code) {
        box.append(element("details", {}, element("summary", {}, words.checked_code),
          element("pre", { class: "kd-source", tabindex: 0 }, element("code", {}, state.checked_code))));
      }
      return [box];
    });
  }

  /** Whether the fields differ from what the verdict is about. Ticks count only once an open answer was scored. */
  function isStale(state) {
    const plain = (values) => fields.map(({ name }) => {
      const value = values?.[name] ?? "";
      return typeof value === "object" && "text" in value && state.checked?.[name].points === null ? value.text : value;
    });
    return !same(plain(read()), plain(state.checked));
  }

  function drawHints(state) {
    hints.node.classList.toggle("kd-open", state.hints.length > 0);
    while (hints.inside.children.length > state.hints.length) hints.inside.lastChild.remove();
    state.hints.forEach((html, k) => {
      if (hints.inside.children[k]?.kdKey === html) return;
      const box = element("div", { class: "kd-box kd-hint" },
        element("b", { class: "kd-label" }, phrase(words.hint_title, { k: k + 1 })), rich("div", { class: "kd-prose" }, html));
      box.kdKey = html;
      if (hints.inside.children[k]) hints.inside.children[k].replaceWith(box);
      else hints.inside.append(box);
    });
  }

  /** Have JupyterLab's own MathJax draw the formulas; elsewhere their source stays readable. */
  function typeset() {
    const manager = model.widget_manager;
    const typesetter = (manager?.rendermime ?? manager?._rendermime)?.latexTypesetter;
    if (!typesetter || !root.isConnected) return;
    root.querySelectorAll('[data-kd-math="raw"]').forEach((node) => {
      node.dataset.kdMath = "drawn";
      typesetter.typeset(node);
    });
  }

  function say(html, look = "note") {
    note = html ? { html, look } : null;
    draw();
  }

  // ---------------------------------------------------------------- keeping what is typed

  function changed() {
    const values = read();
    if (same(values, local.values)) return;
    remember({ values, at: Math.max(Date.now(), local.at + 1), kept: false });
    if (note?.html !== words.dead) note = null;
    draw();
    clearTimeout(timer);
    timer = setTimeout(sendDraft, 1000);
  }

  function remember(record) {
    local = record;
    store(key, record);
    window.dispatchEvent(new CustomEvent(FOLLOW, { detail: { key, from: prefix, local } }));
  }

  async function sendDraft() {
    clearTimeout(timer);
    if (local.kept || working) return;
    const { at, values } = local;
    const reply = await kernel.ask("draft", { values }, () => {});
    if (reply.lost && !note) say(words.dead, "warning");
    if (reply.kept && local.at === at) {
      remember({ ...local, kept: true });
      if (note?.html === words.dead) note = null;
    }
    if (reply.notice || reply.note) say(reply.notice || reply.note, "warning");
    draw();
  }

  /** Take over what Python has now, unless something that it does not have stands in the fields. */
  function adopt(state) {
    if (local.kept && state.at !== seen && !same(read(), state.values)) {
      local = { values: state.values, at: state.at, kept: true };
      write(state.values);
    }
    seen = state.at;
    if (state.answers !== judged && !working) note = null; // judged meanwhile, by a cell: what was said is past
    judged = state.answers;
    if (note?.html === words.dead) note = null; // it answers after all
  }

  // ---------------------------------------------------------------- asking the kernel

  const asked = new Set();
  let queue = Promise.resolve();

  /** One request after the other; an impatient second click on the same button asks nothing new. */
  function request(kind, payload = {}) {
    if (asked.has(kind)) return;
    asked.add(kind);
    queue = queue.then(() => perform(kind, payload)).catch((error) => console.error(error))
      .finally(() => { asked.delete(kind); working = false; });
  }

  async function perform(kind, payload) {
    working = true;
    clearTimeout(timer);
    root.setAttribute("aria-busy", "true");
    const { at } = local;
    const judging = kind === "check" || kind === "score";
    let word = "working";
    const later = setTimeout(() => say(words[word]), SHORT); // a quick answer needs no such word before it
    const reply = await kernel.ask(kind, payload, (name) => {
      if (name === "busy") say(words.busy);
      else if (judging) word = name;
      if (note && name !== "busy") say(words[word]);
    });
    clearTimeout(later);
    working = false;
    root.removeAttribute("aria-busy");
    if (reply.kept && local.at === at) remember({ ...local, kept: true });
    if (reply.lost) say(words.dead, "warning");
    else say(reply.note || reply.notice || null, reply.notice ? "warning" : "note");
    sendDraft();
  }

  listen(form, "submit", (event) => {
    event.preventDefault();
    request("check", { values: read() });
  });
  listen(score, "click", () => {
    const values = read();
    for (const value of Object.values(values)) value.points ??= []; // none ticked is a score, too
    request("score", { values });
  });
  listen(hint, "click", () => (hint.getAttribute("aria-disabled") === "true" ? say(hint.title) : request("hint")));
  listen(solution, "click", () =>
    (solution.getAttribute("aria-disabled") === "true" ? say(solution.title) : request("solution")));
  if (language) {
    listen(language, "click", async () => {
      await sendDraft();
      request("language", { language: content.languages.find((name) => name !== content.language) });
    });
  }

  // ---------------------------------------------------------------- events

  listen(form, "input", changed);
  listen(form, "change", changed);
  listen(form, "focusout", sendDraft);
  listen(document, "visibilitychange", sendDraft);
  // JupyterLab takes letters and arrows for commands; Shift or Ctrl with Enter, which run a cell, check the answer here.
  listen(root, "keydown", (event) => {
    const modified = event.ctrlKey || event.metaKey;
    if (event.key === "Enter" && (modified || event.shiftKey) && event.target.matches("input, textarea")) {
      event.preventDefault();
      event.stopPropagation();
      form.requestSubmit();
    } else if (!modified && !event.altKey && event.key !== "Escape") {
      event.stopPropagation();
    }
  });
  listen(window, FOLLOW, ({ detail }) => {
    if (detail.key !== key || detail.from === prefix) return;
    local = detail.local;
    if (!same(read(), local.values)) write(local.values);
    draw();
  });
  const onState = () => {
    adopt(model.get("state"));
    draw();
  };
  model.on("change:state", onState);
  signal.addEventListener("abort", () => {
    model.off("change:state", onState);
    clearTimeout(timer);
  });
  new ResizeObserver((_, observer) => (signal.aborted ? observer.disconnect() : typeset())).observe(root);

  // ---------------------------------------------------------------- first sight

  const state = model.get("state");
  const typed = load(key);
  if (typed && !typed.kept && typed.at > state.at) {
    local = typed;
    write(typed.values);
    timer = setTimeout(sendDraft, 200);
  } else {
    local = { values: state.values, at: state.at, kept: true };
    write(state.values);
  }
  draw();
}

export default { render };
