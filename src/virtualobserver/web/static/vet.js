"use strict";
// Keys, verdicts and pictures of the vetting page. Text that came from data is put into pages by the server, which
// escapes it; what is put in here goes through textContent.

const page = document.body.dataset;
const by = (id) => document.getElementById(id);
const KEYS = { y: "candidate", n: "other", j: "artefact", w: "unsure" };
const FILM = new Set(["p", ",", "."]); // they wait for nothing
const WAITING = `vo-vet-unsaved ${page.project} ${page.user}`;
const REFUSED = `vo-vet-refused ${page.project} ${page.user}`;

// --- asking ------------------------------------------------------------------------------------------------

async function ask(address) {
  const answer = await fetch(address, { credentials: "same-origin" });
  if (!answer.ok) throw new Error((await answer.text()).slice(0, 300));
  return answer.json();
}

// Values of an answer that has one a line, each as soon as it is there.
async function* lines(address) {
  const answer = await fetch(address, { credentials: "same-origin" });
  if (!answer.ok) throw new Error((await answer.text()).slice(0, 300));
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const whole = (rest + value).split("\n");
      rest = whole.pop();
      for (const line of whole) yield JSON.parse(line);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

const behind = (words) => (page.filter ? `?${page.filter}${words ? `&${words}` : ""}` : words ? `?${words}` : "");

// --- verdicts that have to be kept ----------------------------------------------------------------------------
// What is judged is written down here first and struck out when the server has committed it. What cannot be saved
// stays, over a reload too, and is tried again; the page says so as long as it lasts. What the server refuses, as of a
// detection that is gone, holds up nothing else: it is put aside, and said until its user puts it away.

function listed(name) {
  try {
    return JSON.parse(localStorage.getItem(name) || "[]");
  } catch {
    return [];
  }
}

const waiting = () => listed(WAITING);
const refused = () => listed(REFUSED);

function keepWaiting(list) {
  localStorage.setItem(WAITING, JSON.stringify(list));
  tell();
}

function tell(said = "") {
  const number = waiting().length;
  const place = by("unsaved");
  if (!place) return;
  const lost = refused();
  place.className = (number && failed) || lost.length ? "bad" : number ? "busy" : "";
  const parts = lost.map((one) => `NOT SAVED: ${one.label} of ${one.id} (${one.why})`);
  parts.unshift(!number ? said : failed ? `NOT SAVED: ${number}, trying again (${failed})` : "saving …");
  place.textContent = parts.filter(Boolean).join("; ");
  if (!lost.length) return;
  const away = document.createElement("button");
  away.textContent = "put away";
  away.onclick = () => {
    localStorage.removeItem(REFUSED);
    tell();
  };
  place.append(" ", away);
}

// Says that something could not be had, behind what was saved before: that is not undone by it.
function trouble(error) {
  const why = `cannot be shown: ${error.message || error}`;
  tell(saved ? `${saved}; ${why}` : why);
}

let failed = "";
let saved = "";
let sending = null;
let pause = 1000;

function send() {
  sending ??= sendAll().finally(() => (sending = null));
  return sending;
}

async function sendAll() {
  while (waiting().length) {
    const [first] = waiting();
    try {
      const answer = await fetch("/verdict", {
        method: "POST",
        credentials: "same-origin",
        headers: { "Content-Type": "application/json", [page.csrfHeader]: page.csrf },
        body: JSON.stringify({ id: first.id, label: first.label, note: first.note, before: first.before }),
      });
      const said = await answer.json().catch(() => ({}));
      if (answer.status === 400 && said.error) {
        const why = String(said.error).slice(0, 120);
        localStorage.setItem(REFUSED, JSON.stringify([...refused(), { ...first, why }]));
        failed = "";
        keepWaiting(waiting().filter((one) => one.key !== first.key));
        continue;
      }
      if (!Number.isInteger(said.saved)) throw new Error(said.error || `answer ${answer.status}`);
      failed = "";
      pause = 1000;
      keepWaiting(waiting().filter((one) => one.key !== first.key));
      known.set(first.id, said.saved);
      saved = `saved: ${first.label}`;
      tell(saved);
    } catch (error) {
      failed = String(error.message || error).slice(0, 120);
      tell();
      await new Promise((on) => setTimeout(on, pause));
      pause = Math.min(2 * pause, 15000);
    }
  }
}

document.addEventListener("input", ({ target }) => {
  if (target.matches(".note") && target.value.length >= target.maxLength)
    tell(`the note is full: what is beyond ${target.maxLength} letters is left out`);
});

window.addEventListener("beforeunload", (event) => {
  if (waiting().length && failed) event.preventDefault();
});

// --- going through the queue ----------------------------------------------------------------------------------

const known = new Map(); // last row of mine on a candidate that this page knows of
let now = null; // the candidate that is shown
let queue = []; // numbers of those that follow
let left = 0;
const trail = []; // numbers of those that were shown before
const judged = []; // what can be undone: number, and what I said before
const ready = new Map(); // candidates that were asked for early, each drawn out of sight
let asked = 0;
let wanted = null; // number of the candidate asked for last: it is on the page, or comes

function prepared(id) {
  if (!ready.has(id)) {
    const scene = prepare(id);
    scene.catch(() => ready.delete(id));
    ready.set(id, scene);
    for (const old of [...ready.keys()].slice(0, -3)) drop(old);
  }
  return ready.get(id);
}

function drop(id) {
  ready.get(id)?.then(remove, () => {});
  ready.delete(id);
}

async function prepare(id) {
  const data = await ask(`/data/candidate/${id}${behind("")}`);
  const place = document.createElement("div");
  place.className = "scene unseen";
  place.innerHTML = data.html; // escaped by the server
  by("stage").append(place);
  return { id, data, place, pictures: new Map(), gone: false, drawn: null };
}

// Draws the pictures of a candidate once, one after the other; it stops when the candidate is gone.
function draw(scene) {
  scene.drawn ??= (async () => {
    let n = 0;
    for await (const figure of lines(`/data/figures/${scene.id}`)) {
      if (scene.gone) return; // the server makes no more of them
      if (figure) await picture(scene, figure, n);
      n += 1;
    }
  })().catch((error) => scene.gone || trouble(error));
  return scene.drawn;
}

function remove(scene) {
  scene.gone = true;
  for (const one of scene.pictures.values()) undraw(one);
  scene.pictures.clear();
  scene.place.remove();
}

let short = false; // whether the end of the queue is in sight

let looked = 0;

async function fill(from, { more = false } = {}) {
  const turn = ++looked;
  const answer = await ask(`/data/ahead${behind(from === null ? "" : `behind=${from}`)}`);
  if (more && turn !== looked) return; // a key went on meanwhile, and looks ahead itself
  const had = more ? queue : [];
  const fresh = answer.ids.filter((id) => id !== now?.id && id !== wanted && !had.includes(id));
  short = !answer.ids.length;
  queue = [...had, ...fresh];
  if (!more) left = answer.left;
}

async function show(id, { push = true } = {}) {
  const turn = ++asked;
  wanted = id;
  let scene;
  try {
    scene = await prepared(id);
  } catch (error) {
    return instead(error);
  }
  if (turn !== asked) return; // another key came first
  ready.delete(id); // shown again, it is asked for again: somebody may have judged it meanwhile
  leave();
  by("stage").querySelectorAll(":scope > .empty, :scope > .end").forEach((old) => old.remove());
  now = scene;
  known.set(id, Math.max(scene.data.before, known.get(id) || 0));
  scene.place.className = "scene";
  document.title = `${scene.data.source} · ${page.project}`;
  if (push) history.pushState({ id }, "", `/candidate/${id}${behind("")}`);
  count();
  if (pressed.length) return; // it is judged already: its pictures would only be in the way
  draw(scene);
  early(scene);
}

// The next two are drawn after the one on the page, one after the other.
async function early(shown) {
  await new Promise((done) => setTimeout(done, 30));
  await shown.drawn;
  for (const id of queue.slice(0, 2)) {
    if (now !== shown || pressed.length || !queue.includes(id)) return;
    await prepared(id).then(draw, () => {});
  }
  if (now === shown && !pressed.length && queue.length < 2 && !short) await fill(queue.at(-1) ?? now.id, { more: true }).catch(() => {});
}

function leave() {
  if (now) remove(now);
  now = null;
}

function note() {
  return now ? now.place.querySelector(".note") : null;
}

function count() {
  const place = by("left");
  if (place) place.textContent = left ? `${left} left` : "";
}

// Says it in the place of a candidate that could not be had.
function instead(error) {
  const told = document.createElement("p");
  told.className = "empty";
  told.textContent = `${error.message || error} `;
  const again = document.createElement("a");
  again.href = location.href;
  again.textContent = "try again";
  told.append(again);
  leave();
  by("stage").append(told);
}

async function on() {
  const from = now ? now.id : null;
  if (!queue.length) {
    try {
      await fill(from);
    } catch (error) {
      return instead(error);
    }
  }
  if (from !== null && trail.at(-1) !== from) trail.push(from);
  if (!queue.length) return end();
  return show(queue.shift());
}

async function end() {
  leave();
  await send(); // what is left is counted when all is saved
  const told = document.createElement("div");
  told.className = "end";
  try {
    told.innerHTML = (await ask(`/data/end${behind("")}`)).html; // escaped by the server
    by("stage").replaceChildren(told);
  } catch (error) {
    instead(error);
  }
}

function back() {
  const id = trail.pop();
  if (id === undefined) return;
  if (now) queue.unshift(now.id);
  return show(id);
}

async function judge(label) {
  if (!now) return;
  const words = note() ? note().value.trim() : "";
  judged.push({ id: now.id, before: now.data.mine });
  put(now.id, label, words);
  now.data.mine = { label, note: words };
  if (!judged.at(-1).before && left > 0) left -= 1;
  return on();
}

function put(id, label, note) {
  const key = `${id} ${performance.timeOrigin + performance.now()}`;
  keepWaiting([...waiting(), { key, id, label, note, before: known.get(id) || 0 }]);
  drop(id);
  send();
}

async function undo() {
  const last = judged.pop();
  if (!last) return tell("nothing to undo");
  await send(); // the one that is taken back has to be there first
  put(last.id, last.before ? last.before.label : "withdrawn", last.before ? last.before.note : "");
  await send();
  if (now) queue.unshift(now.id);
  const place = trail.lastIndexOf(last.id);
  if (place >= 0) trail.splice(place, 1);
  if (!last.before) left += 1;
  return show(last.id);
}

// --- pictures --------------------------------------------------------------------------------------------------

function undraw(one) {
  clearInterval(one.timer);
  try {
    one.view.model.document?.clear();
    one.view.remove();
  } catch {
    /* a picture that is gone already */
  }
}

async function picture(scene, figure, n) {
  const place = by(figure.item.target_id);
  if (!place) return;
  const manager = await Bokeh.embed.embed_item(figure.item);
  const view = manager.get_by_id ? manager.get_by_id(figure.item.root_id) : [...manager][0];
  const one = { view, timer: 0 };
  scene.pictures.set(n, one);
  place.dataset.drawn = "yes";
  const tools = place.parentElement.querySelector(".tools");
  const title = document.createElement("h2");
  title.textContent = title.title = figure.title;
  tools.replaceChildren(title);
  if (scene.id !== null && (figure.scales.length || figure.folds)) curves(tools, figure, scene, n);
  if (figure.limits.length) stretches(tools, figure, view);
  if (figure.kind === "imagestack" && figure.labels.length > 1) film(tools, figure, one);
  for (const [n, [name, colour]] of (figure.masks || []).entries()) tools.append(mask(view, n, name, colour));
}

// What belongs together stays on one line.
function group(tools) {
  const made = document.createElement("div");
  made.className = "group";
  tools.append(made);
  return made;
}

function button(words, title, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = words;
  made.title = title;
  made.addEventListener("click", act);
  return made;
}

function curves(tools, figure, scene, n) {
  const state = figure.state || { scale: "", fold: "" };
  const again = async (change) => {
    const next = { ...state, ...change };
    try {
      const words = new URLSearchParams(Object.entries(next).filter(([, value]) => value));
      const made = await ask(`/data/figure/${scene.id}/${n}?${words}`);
      undraw(scene.pictures.get(n));
      by(made.item.target_id).replaceChildren();
      await picture(scene, { ...made, scales: figure.scales, folds: figure.folds, state: next }, n);
    } catch (error) {
      trouble(error);
    }
  };
  const choices = group(tools);
  for (const [scale, words] of [["", "lin"], ["log", "log"], ["mag", "mag"]]) {
    if (!figure.scales.length || (scale && !figure.scales.includes(scale))) continue;
    const made = button(words, `${words} axis`, () => again({ scale }));
    made.className = state.scale === scale ? "on" : "";
    choices.append(made);
  }
  if (figure.folds) {
    const period = document.createElement("input");
    period.placeholder = "period";
    period.title = "fold by this period, in the units of the axis";
    period.setAttribute("aria-label", "period to fold by");
    period.size = 7;
    period.value = state.fold;
    period.addEventListener("change", () => again({ fold: period.value.trim() }));
    choices.append(period);
  }
}

function colours(view) {
  return view.model.document.get_model_by_name("colours");
}

function stretches(tools, figure, view) {
  const choice = document.createElement("select");
  choice.setAttribute("aria-label", "stretch");
  choice.title = "stretch";
  for (const [n, [name]] of figure.limits.entries()) choice.add(new Option(name, String(n)));
  choice.addEventListener("change", () => {
    const [, low, high] = figure.limits[Number(choice.value)];
    colours(view).setv({ low, high });
    choice.blur();
  });
  tools.append(choice);
}

function mask(view, n, name, colour) {
  const drawn = view.model.document.get_model_by_name(`mask ${n}`);
  const made = button(name, "show these pixels, or hide them", () => {
    drawn.visible = !drawn.visible;
    made.setAttribute("aria-pressed", String(drawn.visible));
  });
  made.className = "mask";
  made.setAttribute("aria-pressed", "false");
  made.style.setProperty("--mask", colour);
  return made;
}

function film(tools, figure, one) {
  const models = one.view.model.document;
  const [frames, marks] = one.view.model.tags;
  const shown = models.get_model_by_name("shown");
  const marked = models.get_model_by_name("marked");
  const slider = document.createElement("input");
  slider.type = "range";
  slider.min = "0";
  slider.max = String(figure.labels.length - 1);
  slider.setAttribute("aria-label", "image of the film");
  const label = document.createElement("span");
  one.n = figure.start;
  one.step = (by) => {
    one.n = (one.n + by + figure.labels.length) % figure.labels.length;
    shown.data = { ...shown.data, image: [frames.data.image[one.n]] };
    marked.data = Object.fromEntries(Object.entries(marks.data).map(([name, images]) => [name, [...images[one.n]]]));
    slider.value = String(one.n);
    label.textContent = `${one.n + 1}/${figure.labels.length} ${figure.labels[one.n]}`;
    label.title = label.textContent;
  };
  one.play = () => {
    if (one.timer) {
      clearInterval(one.timer);
      one.timer = 0;
    } else {
      one.timer = setInterval(() => one.step(1), 250);
    }
    play.textContent = one.timer ? "❚❚" : "▶";
  };
  const play = button("▶", "play (p)", one.play);
  slider.addEventListener("input", () => one.step(Number(slider.value) - one.n));
  group(tools).append(button("‹", "one back (,)", () => one.step(-1)), play, button("›", "one on (.)", () => one.step(1)), slider);
  tools.append(label);
  one.step(0);
}

const filmed = () => (now ? [...now.pictures.values()].find((one) => one.play) : undefined);

// --- keys ------------------------------------------------------------------------------------------------------

async function open(name) {
  if (!now) return;
  const box = by("box");
  if (box.open) return box.close();
  try {
    by("box-body").innerHTML = (await ask(`/data/${name}/${now.id}`)).html; // escaped by the server
  } catch (error) {
    by("box-body").textContent = String(error.message || error);
  }
  box.showModal();
}

function confirmBefore() {
  if (!now || !now.data.inherited.length) return;
  const [before] = now.data.inherited;
  if (note() && !note().value.trim()) note().value = before.note;
  return judge(before.label);
}

function again() {
  const link = by("again") || by("begin");
  if (!link) return false;
  if (link.dataset.filter === undefined) {
    location.href = link.href;
    return true;
  }
  page.filter = link.dataset.filter;
  queue = [];
  trail.length = 0;
  act(on);
  return true;
}

// Keys wait for the one before them, each acts on the candidate that this one led to: the third key of three pressed
// fast judges the third candidate, and none is lost. Letters typed after an m belong to the note.
const pressed = []; // names of keys, or what else is to be done
let acting = false;

async function act(what) {
  pressed.push(what);
  if (acting) return;
  acting = true;
  try {
    while (pressed.length) {
      const next = pressed.shift();
      await (typeof next === "function" ? next() : ACTS[next]?.());
      if (next === "m") type();
    }
  } finally {
    acting = false;
  }
}

function type() {
  const words = note();
  while (words && pressed.length) {
    const key = pressed.shift();
    if (key === "Escape") return words.blur();
    if (key.length === 1) words.value += key;
  }
}

const ACTS = {
  ...Object.fromEntries(Object.entries(KEYS).map(([key, label]) => [key, () => judge(label)])),
  c: confirmBefore,
  u: undo,
  d: () => open("metadata"),
  o: () => open("siblings"),
  m: () => note()?.focus(),
  p: () => filmed()?.play(),
  ",": () => filmed()?.step(-1),
  ".": () => filmed()?.step(1),
  q: () => (location.href = `/${behind("")}`),
  ArrowLeft: back,
  ArrowRight: () => now && on(),
  " ": () => now && on(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target;
  const writing = target.matches("input:not([type=range]), textarea, select");
  if (writing) {
    if (event.key === "Escape") target.blur();
    return;
  }
  if (event.key === "?") {
    const help = by("help");
    if (help.open) help.close();
    else help.showModal();
    event.preventDefault();
    return;
  }
  const box = document.querySelector("dialog[open]");
  if (box) {
    if ((event.key === "o" || event.key === "d") && box.id === "box") box.close();
    return;
  }
  if (acting && pressed.includes("m")) {
    pressed.push(event.key);
    event.preventDefault();
    return;
  }
  if (event.repeat && event.key in KEYS) return; // a key that is held down judges once
  if (event.key === "Enter" && !target.matches("a, button") && again()) {
    event.preventDefault();
    return;
  }
  if (!by("stage")) return;
  if (target.matches("button, a") && (event.key === " " || event.key === "Enter")) return;
  if (!(event.key in ACTS)) return;
  if (FILM.has(event.key)) ACTS[event.key]();
  else act(event.key);
  event.preventDefault();
});

document.addEventListener("click", (event) => {
  const at = event.target.closest("button, a");
  if (!at) return;
  if (at.classList.contains("shut")) at.closest("dialog").close();
  else if (at.id === "help-button") by("help").showModal();
  else if (at.dataset.label || at.dataset.confirm) {
    const { id } = at.closest(".case").dataset; // what is clicked on, whatever comes first
    act(() => String(now?.id) === id && (at.dataset.label ? judge(at.dataset.label) : confirmBefore()));
  }
  else if (at.dataset.open) open(at.dataset.open);
  else if (at.dataset.filter !== undefined && by("stage")) {
    event.preventDefault();
    page.filter = at.dataset.filter;
    queue = [];
    act(on);
  }
});

window.addEventListener("popstate", (event) => {
  const id = event.state?.id ?? Number(page.first);
  if (by("stage") && id) act(() => show(id, { push: false }));
});

// The numbers beside the filters, which take longer than the page.
async function numbers() {
  const place = by("counts");
  try {
    const told = await ask(`/data/counts${location.search}`);
    place.innerHTML = told.html; // escaped by the server
    by("total").textContent = told.total;
    delete place.dataset.waiting;
  } catch (error) {
    place.firstElementChild.textContent = String(error.message || error);
  }
}

async function begin() {
  window.Bokeh?.logger.set_level("warn"); // it tells of each picture otherwise
  tell();
  send();
  if (page.figures) {
    const scene = { id: null, pictures: new Map() };
    for (const [n, figure] of JSON.parse(page.figures).entries()) if (figure) await picture(scene, figure, n);
    return;
  }
  if (by("counts")?.dataset.waiting) await numbers();
  if (!by("stage")) return;
  const first = Number(page.first);
  history.replaceState({ id: first }, "");
  fill(first)
    .then(() => {
      count();
      if (now) early(now);
    })
    .catch(() => {});
  await act(() => show(first, { push: false }));
}

begin();
