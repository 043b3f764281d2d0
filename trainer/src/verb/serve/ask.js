// The page of `serve`: chooses a volume, asks, shows the answer as it comes, and puts it into the viewer beside those before.
(() => {
  "use strict";

  const of = (selector) => document.querySelector(selector);
  const form = of("#question"), search = of("#search"), drop = of("#drop"), state = of("#volumes .state");
  const said = of("#ask .answer"), viewer = of("#viewer");
  const make = (name, more = {}) => Object.assign(document.createElement(name), more);
  let volume = null, page = 0, pages = 1, stop = null;
  // What was asked, by volume.
  const asked = new Map();

  async function get(path, more) {
    const response = await fetch(path, more);
    if (!response.ok) throw new Error(await response.text());
    return response;
  }
  const fails = (where) => (error) => { where.textContent = error.message; };

  async function list() {
    const words = new URLSearchParams({ search: search.elements.search.value, page });
    const found = await (await get(`/api/volumes?${words}`)).json();
    [page, pages] = [found.page, found.pages];
    search.querySelector("output").textContent = `${found.total} volumes, page ${page + 1} of ${pages}`;
    const rows = found.volumes.map((entry) => {
      const row = make("tr");
      const button = make("button", { type: "button", textContent: entry.series || entry.id });
      button.addEventListener("click", () => choose(entry.id).catch(fails(state)));
      const first = make("th", { scope: "row" });
      first.append(button);
      row.append(first, make("td", { textContent: entry.case || "" }), make("td", { className: "n", textContent: entry.texts }));
      return row;
    });
    of("#list tbody").replaceChildren(...rows);
    of("[name=before]").disabled = page === 0;
    of("[name=next]").disabled = page + 1 >= pages;
  }

  async function choose(key) {
    const found = await (await get(`/api/volumes/${encodeURIComponent(key)}`)).json();
    take(found);
  }

  async function take(found) {
    volume = found;
    state.textContent = "";
    form.querySelector(".volume").textContent = `${found.name}, ${found.slices} slices`;
    const samples = found.texts.map((text, at) => make("option", {
      value: at, textContent: `${text.task}${text.topic ? `, ${text.topic}` : ""} (${text.split}): ${text.question}`.slice(0, 100),
    }));
    form.elements.sample.replaceChildren(make("option", { value: "", textContent: "own words" }), ...samples);
    form.elements.sample.disabled = !samples.length;
    said.textContent = "";
    await show();
    of("#ask").scrollIntoView({ block: "start" });
    form.elements.question.focus({ preventScroll: true });
  }

  // The viewer comes from the server as markup, with all that was asked about the volume.
  async function show() {
    const body = JSON.stringify({ volume: volume.key, asked: asked.get(volume.key) || [] });
    viewer.innerHTML = await (await get("/api/view", { method: "POST", body })).text();
    of("#none").hidden = true;
    viewer.querySelectorAll(".viewer").forEach(window.med2e3.viewer);
    // The last question is the one that was asked just now.
    [...viewer.querySelectorAll(".questions input")].pop()?.click();
  }

  // Events of a response, as text/event-stream has them.
  async function* events(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const lines = part.split("\n").map((line) => /^(event|data): ?(.*)$/.exec(line)).filter(Boolean);
        const event = Object.fromEntries(lines.map(([, key, text]) => [key, text]));
        if (event.data) yield [event.event, JSON.parse(event.data)];
      }
    }
  }

  async function ask(event) {
    event.preventDefault();
    if (!volume) { said.textContent = "Choose a volume first."; return; }
    if (stop) return;
    const own = volume, { question, tokens, temperature, seed, sample } = form.elements;
    const text = question.value.trim(), stated = own.texts[sample.value];
    const expected = stated && stated.question === text ? stated.expected : "";
    const request = { volume: own.key, question: text, max_new_tokens: Number(tokens.value), seed: Number(seed.value) };
    if (Number(temperature.value) > 0) request.temperature = Number(temperature.value);
    stop = new AbortController();
    busy(true);
    let scores = [], answer = "";
    try {
      const response = await get("/api/ask", { method: "POST", body: JSON.stringify(request), signal: stop.signal });
      for await (const [name, told] of events(response)) {
        if (name === "queue") said.textContent = told.place ? `${told.place} questions before this one` : "reading";
        if (name === "scores") scores = told.scores;
        if (name === "token") said.textContent = answer = told.answer;
        if (name === "error") throw new Error(told.message);
        if (name !== "done") continue;
        const cut = told.stopped_by === "most_tokens" ? ", cut at the most tokens" : "";
        said.textContent = `${told.answer} (${told.seconds.toFixed(1)} s${cut})`;
        asked.set(own.key, [...(asked.get(own.key) || []), { question: text, expected, answer: told.answer, scores }]);
        if (volume.key === own.key) await show();
      }
    } catch (error) {
      said.textContent = error.name === "AbortError" ? `${answer} (stopped)` : error.message;
    } finally {
      stop = null;
      busy(false);
    }
  }

  function busy(is) {
    form.querySelector("[type=submit]").disabled = is;
    form.querySelector("[name=stop]").hidden = !is;
  }

  async function prepare(file) {
    if (!file) return;
    state.textContent = "preparing the file";
    take(await (await get("/api/files", { method: "POST", body: file })).json());
  }

  form.addEventListener("submit", ask);
  form.querySelector("[name=stop]").addEventListener("click", () => stop?.abort());
  form.elements.sample.addEventListener("change", ({ target }) => {
    if (target.value !== "") form.elements.question.value = volume.texts[target.value].question;
  });
  drop.querySelector("input").addEventListener("change", ({ target }) => prepare(target.files[0]).catch(fails(state)));
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    prepare(event.dataTransfer.files[0]).catch(fails(state));
  });
  if (search) {
    let wait = null;
    search.addEventListener("submit", (event) => event.preventDefault());
    search.addEventListener("input", () => {
      clearTimeout(wait);
      wait = setTimeout(() => { page = 0; list().catch(fails(state)); }, 200);
    });
    of("[name=before]").addEventListener("click", () => { page -= 1; list().catch(fails(state)); });
    of("[name=next]").addEventListener("click", () => { page += 1; list().catch(fails(state)); });
    list().catch(fails(state));
  }
})();
