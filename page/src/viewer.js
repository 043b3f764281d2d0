// The page's one script: a viewer of slices and a filter of answers. Without it everything is there as still pictures and lists.
(() => {
  "use strict";

  const make = (name, more = {}) => Object.assign(document.createElement(name), more);
  const all = (within, selector) => [...within.querySelectorAll(selector)];
  const isTyping = (event) => event.ctrlKey || event.metaKey || event.altKey || /^(text|search|select-one)$/.test(event.target.type || "");

  // Centre and width in Hounsfield units.
  const WINDOWS = { brain: [40, 80], subdural: [75, 215], "soft tissue": [40, 400], lung: [-600, 1500], bone: [500, 2000] };
  const THUMB = 48;

  function viewer(box, number) {
    const slices = Number(box.dataset.slices);
    const sheet = box.querySelector("img.sheet");
    const columns = Number(sheet?.dataset.columns || 0);
    const tracks = box.querySelector(".tracks");
    const questions = all(box, ".questions > li");
    if (!(slices > 0)) return;
    const scores = questions.map((item) => item.dataset.scores.split(" ").map(Number));
    let slice = 0, question = 0, range = null;

    // The bars move from below their questions to where all lanes have one axis; one question's are shown.
    const lane = tracks.querySelector(".bars");
    const bars = questions.map((item) => item.querySelector(".bars > svg"));
    bars.forEach((chart) => lane.append(chart));
    all(box, ".questions .bars").forEach((empty) => empty.remove());

    const slider = make("input", { type: "range", min: 0, max: slices - 1, step: 1 });
    slider.setAttribute("aria-label", "Slice");
    const marker = make("div", { className: "marker" });
    const said = make("output");
    const controls = make("div", { className: "controls" });
    controls.append(said);
    tracks.insertBefore(slider, lane || tracks.querySelector(".numbers"));
    tracks.append(marker);

    let canvas = null, ink = null;
    if (columns) {
      canvas = make("canvas");
      canvas.setAttribute("role", "img");
      ink = canvas.getContext("2d", { willReadFrequently: true });
      sheet.after(canvas, controls);
      sheet.hidden = true;
    } else {
      tracks.after(controls);
    }

    // Where on the sheet a slice lies.
    const place = (of) => {
      const width = sheet.naturalWidth / columns, height = sheet.naturalHeight / Math.ceil(slices / columns);
      return [(of % columns) * width, Math.floor(of / columns) * height, width, height];
    };

    function draw() {
      if (!canvas || !sheet.naturalWidth) return;
      const [x, y, width, height] = place(slice);
      if (canvas.width !== width) [canvas.width, canvas.height] = [width, height];
      ink.drawImage(sheet, x, y, width, height, 0, 0, width, height);
      if (!range) return;
      const [low, high] = [box.dataset.low, box.dataset.high].map(Number);
      const [centre, span] = range;
      const pixels = ink.getImageData(0, 0, width, height);
      for (let at = 0; at < pixels.data.length; at += 4) {
        const units = low + (pixels.data[at] / 255) * (high - low);
        pixels.data.fill(255 * ((units - centre) / span + 0.5), at, at + 3);
      }
      ink.putImageData(pixels, 0, 0);
    }

    function show(to) {
      slice = Math.max(0, Math.min(slices - 1, Math.round(to)));
      const own = scores[question];
      const share = own ? `${((own[slice] || 0) * own.length).toFixed(2)} times an even share` : "";
      slider.value = slice;
      slider.setAttribute("aria-valuetext", own ? `slice ${slice}, ${share}` : `slice ${slice}`);
      said.textContent = `Slice ${slice} of ${slices}, counted from 0${own ? `: ${share}` : ""}`;
      canvas?.setAttribute("aria-label", `Slice ${slice} of the volume`);
      marker.style.left = `${(100 * slice) / slices}%`;
      if (own) {
        all(lane, ".on").forEach((bar) => bar.classList.remove("on"));
        all(bars[question], ".bar")[slice]?.classList.add("on");
      }
      draw();
    }

    const peak = (of) => scores[of].indexOf(Math.max(...scores[of]));
    function ask(of, to) {
      question = of;
      questions.forEach((item, at) => {
        item.classList.toggle("on", at === of);
        item.querySelector("input").checked = at === of;
        bars[at].classList.toggle("shown", at === of);
        bars[at].toggleAttribute("hidden", at !== of);
      });
      show(to);
    }

    questions.forEach((item, at) => {
      const label = make("label");
      const radio = make("input", { type: "radio", name: `question-${number}` });
      const text = item.querySelector(".q");
      const words = make("span");
      words.append(...text.childNodes);
      label.append(radio, words);
      text.append(label);
      radio.addEventListener("change", () => ask(at, peak(at)));
    });

    if (box.dataset.low && canvas) {
      const [low, high] = [box.dataset.low, box.dataset.high].map(Number);
      const select = make("select");
      select.setAttribute("aria-label", "Window");
      select.append(make("option", { value: "", textContent: `${low} to ${high} HU, as stored` }));
      for (const [name, [centre, span]] of Object.entries(WINDOWS)) {
        // A window of which less than half is stored would show black or white alone.
        const stored = Math.min(high, centre + span / 2) - Math.max(low, centre - span / 2);
        if (stored < span / 2 || span >= high - low) continue;
        select.append(make("option", { value: name, textContent: `${name}, ${centre - span / 2} to ${centre + span / 2} HU` }));
      }
      select.addEventListener("change", () => { range = WINDOWS[select.value] || null; draw(); });
      if (select.length > 1) controls.append(select);
    }

    slider.addEventListener("input", () => show(Number(slider.value)));
    const follow = (event) => {
      if (event.target === slider) return;
      const { left, width } = tracks.getBoundingClientRect();
      if (event.clientX >= left) show(Math.floor(((event.clientX - left) / width) * slices));
    };
    tracks.addEventListener("pointermove", follow);
    tracks.addEventListener("pointerdown", follow);
    (canvas || tracks).addEventListener("wheel", (event) => {
      if (event.ctrlKey || !event.deltaY) return;
      event.preventDefault();
      show(slice + Math.sign(event.deltaY));
    }, { passive: false });
    box.addEventListener("keydown", (event) => {
      const of = Number(event.key) - 1;
      if (isTyping(event) || !(of >= 0 && of < questions.length)) return;
      ask(of, peak(of));
      event.preventDefault();
    });

    // All slices small, above the slider, each over its bar.
    async function film() {
      await sheet.decode();
      const strip = make("canvas", { width: slices * THUMB, height: THUMB });
      strip.setAttribute("aria-hidden", "true");
      const brush = strip.getContext("2d");
      for (let of = 0; of < slices; of += 1) brush.drawImage(sheet, ...place(of), of * THUMB, 0, THUMB, THUMB);
      tracks.querySelector(".filmstrip").append(strip);
      draw();
    }
    box.classList.add("live");
    if (questions.length) ask(0, peak(0)); else show(slices / 2);
    if (canvas) film().catch(() => { sheet.hidden = false; canvas.hidden = true; });
  }

  function answers(box) {
    const items = all(box, "ol.answers > li");
    const form = box.querySelector("form");
    const said = form.querySelector("output");
    let texts = null;
    const shown = () => items.filter((item) => !item.hidden);

    function filter() {
      const { task, topic, wrong, changed, search } = form.elements;
      texts ??= items.map((item) => item.textContent.toLowerCase());
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      items.forEach((item, at) => {
        const of = item.dataset;
        const fits = (!task?.value || of.task === task.value) && (!topic?.value || of.topic === topic.value)
          && (!wrong.checked || "wrong" in of) && (!changed?.checked || "changed" in of);
        item.hidden = !fits || !words.every((word) => texts[at].includes(word));
      });
      say(shown().length);
    }
    const say = (count) => { said.textContent = `${count} of ${items.length} answers`; };
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    say(items.length);
    return (step) => {
      const list = shown();
      if (!list.length) return false;
      const at = list.indexOf(document.activeElement);
      const next = at < 0 ? 0 : Math.max(0, Math.min(list.length - 1, at + step));
      list[next].focus();
      list[next].scrollIntoView({ block: "nearest" });
      return true;
    };
  }

  let made = 0;
  const one = (box) => viewer(box, (made += 1));
  window.med2e3 = { viewer: one };
  all(document, ".viewer").forEach(one);
  const lists = all(document, ".answer-list").map((box) => [box, answers(box)]);
  document.addEventListener("keydown", (event) => {
    const step = { j: 1, k: -1 }[event.key];
    if (!step || isTyping(event) || !lists.length) return;
    const own = lists.find(([box]) => box.contains(document.activeElement)) || lists[0];
    own[1](step);
  });
})();
