"use strict";
// data: {seconds, gain, lanes: [{name, black}], stems: [{name, audio}],
//        notes: [[start, end, lane, stem, velocity]], score: [[start, end, lane]]}
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const [view, extent, roll, seek] = ["view", "extent", "roll", "seek"].map($);
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const colour = (i) =>
  i < COLOURS.length ? COLOURS[i] : `hsl(${(i * 137.5) % 360}deg 60% 50%)`;

// ---- sound: one buffer per stem, all started at one time of the context's clock ----------------

const context = new AudioContext();
const master = new GainNode(context, { gain: data.gain });
const analyser = new AnalyserNode(context, { fftSize: 2048 });
master.connect(analyser).connect(context.destination);
const stems = data.stems.map((stem, index) => {
  const gain = new GainNode(context);
  gain.connect(master);
  return { name: stem.name, index, gain, buffer: null, solo: false, muted: false };
});
let sources = [];
let startedAt = 0; // of the context's clock, when position 0 would have sounded
let position = 0; // where it rests
let playing = false;

async function decode(stem) {
  const text = atob(data.stems[stem.index].audio);
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  stem.buffer = await context.decodeAudioData(bytes.buffer);
  data.stems[stem.index].audio = null;
}

const now = () =>
  playing ? Math.min(data.seconds, Math.max(0, context.currentTime - startedAt)) : position;

const silence = () => {
  for (const source of sources) { source.onended = null; source.stop(); }
  sources = [];
};

async function play() {
  await context.resume();
  silence();
  if (position >= data.seconds - 0.01) position = 0;
  const when = context.currentTime + 0.05;
  startedAt = when - position;
  sources = stems.map((stem) => {
    const source = new AudioBufferSourceNode(context, { buffer: stem.buffer });
    source.connect(stem.gain);
    source.start(when, position);
    return source;
  });
  playing = true;
  show();
  requestAnimationFrame(frame);
}

function pause() {
  position = now();
  playing = false;
  silence();
  show();
}

function moveTo(seconds) {
  position = Math.min(data.seconds, Math.max(0, seconds));
  if (playing) play();
  else show();
  reveal();
}

function mix() {
  const soloed = stems.some((stem) => stem.solo);
  for (const stem of stems) {
    stem.heard = !stem.muted && (!soloed || stem.solo);
    stem.gain.gain.setTargetAtTime(stem.heard ? 1 : 0, context.currentTime, 0.01);
    stem.item.classList.toggle("silent", !stem.heard);
    stem.buttons.solo.setAttribute("aria-pressed", stem.solo);
    stem.buttons.muted.setAttribute("aria-pressed", stem.muted);
  }
  draw();
}

function level() {
  const samples = new Float32Array(analyser.fftSize);
  analyser.getFloatTimeDomainData(samples);
  return Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);
}

// ---- picture ------------------------------------------------------------------------------------

const RULER = 20;
let pixels = 100; // per second

const labelWidth = () => (data.lanes.length ? 48 : 0);
const width = () => view.clientWidth - labelWidth();

function zoom(factor, all = false) {
  const centre = now();
  const least = width() / data.seconds;
  pixels = all ? least : Math.min(2000, Math.max(least, pixels * factor));
  extent.style.width = `${labelWidth() + data.seconds * pixels}px`;
  view.scrollLeft = centre * pixels - width() / 2;
  draw();
}

function draw() {
  const ratio = devicePixelRatio || 1;
  const lanes = data.lanes.length;
  const height = RULER + Math.max(120, Math.min(innerHeight * 0.5, lanes * 22));
  const step = (height - RULER) / Math.max(1, lanes);
  roll.width = view.clientWidth * ratio;
  roll.height = height * ratio;
  roll.style.width = `${view.clientWidth}px`;
  roll.style.height = `${height}px`;
  const paint = roll.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  const css = (name) => style.getPropertyValue(name).trim();
  const left = labelWidth();
  const x = (seconds) => left + seconds * pixels - view.scrollLeft;
  const y = (lane) => height - (lane + 1) * step; // the first lane lies lowest
  paint.scale(ratio, ratio);
  paint.fillStyle = css("--paper");
  paint.fillRect(0, 0, view.clientWidth, height);
  paint.font = "11px system-ui, sans-serif";
  paint.textBaseline = "middle";
  data.lanes.forEach((lane, index) => {
    if (lane.black) {
      paint.fillStyle = css("--black-key");
      paint.fillRect(left, y(index), view.clientWidth, step);
    }
  });
  const grid = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300].find((s) => s * pixels > 60) || 600;
  const first = Math.floor(view.scrollLeft / pixels / grid);
  for (let tick = first; x(tick * grid) < view.clientWidth; tick++) {
    paint.fillStyle = css("--faint");
    paint.fillRect(x(tick * grid), 0, 1, height);
    paint.fillStyle = css("--ink");
    paint.fillText(clock(tick * grid, grid < 1), x(tick * grid) + 3, RULER / 2);
  }
  for (const [start, end, lane, stem, velocity] of data.notes) {
    if (x(end) < left || x(start) > view.clientWidth) continue;
    paint.globalAlpha = (stems[stem].heard ? 1 : 0.15) * (0.4 + 0.6 * (velocity / 127));
    paint.fillStyle = colour(stem);
    paint.fillRect(x(start), y(lane) + 1, Math.max(2, (end - start) * pixels), Math.max(2, step - 2));
  }
  paint.globalAlpha = 1;
  paint.strokeStyle = css("--score");
  for (const [start, end, lane] of data.score) {
    paint.strokeRect(x(start), y(lane) + 0.5, (end - start) * pixels, Math.max(2, step - 1));
  }
  if (left) {
    paint.fillStyle = css("--paper");
    paint.fillRect(0, RULER, left, height);
    paint.fillStyle = css("--ink");
    let last = Infinity;
    data.lanes.forEach((lane, index) => {
      const middle = y(index) + step / 2;
      if (last - middle < 12 || (step < 12 && lane.black !== null && !lane.name.startsWith("C"))) return;
      if (lane.black && step < 12) return;
      paint.fillText(lane.name, 4, middle, left - 8);
      last = middle;
    });
  }
  paint.fillStyle = css("--accent");
  if (x(now()) >= left) paint.fillRect(x(now()) - 1, 0, 2, height);
}

function reveal() {
  const seen = now() * pixels - view.scrollLeft;
  if (seen < 0 || seen > width() * 0.9) view.scrollLeft = now() * pixels - width() * 0.1;
}

const clock = (seconds, fine = true) => {
  const tenths = Math.round(seconds * 10);
  const rest = String(Math.floor(tenths / 10) % 60).padStart(2, "0");
  return `${Math.floor(tenths / 600)}:${rest}${fine ? "." + (tenths % 10) : ""}`;
};

function show() {
  const at = now();
  seek.value = at;
  seek.setAttribute("aria-valuetext", `${at.toFixed(1)} of ${data.seconds.toFixed(1)} seconds`);
  $("time").textContent = `${clock(at)} / ${clock(data.seconds)}`;
  $("play").textContent = playing ? "❚❚" : "▶";
  $("play").setAttribute("aria-label", playing ? "Pause" : "Play");
  $("level").value = playing ? level() : 0;
  draw();
}

function frame() {
  if (!playing) return;
  if (now() >= data.seconds) {
    pause();
  } else {
    reveal();
    show();
    requestAnimationFrame(frame);
  }
}

// ---- controls -----------------------------------------------------------------------------------

for (const stem of stems) {
  stem.item = document.createElement("li");
  const swatch = document.createElement("span");
  swatch.className = "swatch";
  swatch.style.background = colour(stem.index);
  const name = document.createElement("span");
  name.className = "name";
  name.textContent = stem.name;
  stem.item.append(swatch, name);
  stem.buttons = {};
  for (const [state, letter, verb] of [["solo", "S", "Solo"], ["muted", "M", "Mute"]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = letter;
    button.title = button.ariaLabel = `${verb} ${stem.name}`;
    button.onclick = () => { stem[state] = !stem[state]; mix(); };
    stem.buttons[state] = button;
    stem.item.append(button);
  }
  $("stems").append(stem.item);
}
$("about").textContent = [
  `${data.seconds.toFixed(1)} s`, `${stems.length} stems`, `${data.notes.length} notes found`,
  ...(data.score.length ? [`${data.score.length} notes in the score (outlined)`] : []),
].join(", ");
roll.ariaLabel = `${data.notes.length} notes in ${data.lanes.length} lanes over time`;
seek.max = data.seconds;
seek.oninput = () => moveTo(Number(seek.value));
$("play").onclick = () => (playing ? pause() : play());
$("in").onclick = () => zoom(1.5);
$("out").onclick = () => zoom(1 / 1.5);
$("fit").onclick = () => zoom(1, true);
roll.onclick = (event) => moveTo((event.offsetX - labelWidth() + view.scrollLeft) / pixels);
view.onscroll = draw;
view.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  zoom(Math.exp(-event.deltaY / 300));
}, { passive: false });
addEventListener("resize", () => zoom(1));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
  const onButton = event.target instanceof HTMLButtonElement;
  const second = event.shiftKey ? 5 : 1;
  if (digit && stems[digit[1] - 1]) {
    stems[digit[1] - 1].buttons[event.shiftKey ? "muted" : "solo"].click();
  } else if (event.key === " " && !onButton && !$("play").disabled) $("play").click();
  else if (event.key === "ArrowLeft") moveTo(now() - second);
  else if (event.key === "ArrowRight") moveTo(now() + second);
  else if (event.key === "Home") moveTo(0);
  else if (event.key === "End") moveTo(data.seconds);
  else if (event.key === "+") zoom(1.5);
  else if (event.key === "-") zoom(1 / 1.5);
  else if (event.key === "0") zoom(1, true);
  else return;
  event.preventDefault();
});

mix();
zoom(1, true);
show();
const ready = Promise.all(stems.map(decode)).then(
  () => { $("play").disabled = false; $("status").textContent = ""; },
  (error) => { $("status").textContent = `This browser cannot decode the stems: ${error.message}`; },
);
