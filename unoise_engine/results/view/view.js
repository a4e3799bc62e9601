"use strict";
// Shows the volumes that lie packed in this page. Axes of all arrays: x to the patient's left, y to posterior, z from
// the feet. NiiVue draws the slices; the outline is drawn here, over them, and so are the colours made.

const facts = JSON.parse(byId("facts").textContent);
const [NX, NY, NZ] = facts.size, VOXELS = NX * NY * NZ;
const AXIAL = 0, CORONAL = 1, SAGITTAL = 2, ALL = 3, SOLID = 4;
const VIEWS = [["All", ALL], ["Axial", AXIAL], ["Coronal", CORONAL], ["Sagittal", SAGITTAL], ["3-D", SOLID]];
const WINDOWS = [["Soft tissue", -160, 240], ["Lung", -1350, 150], ["Bone", -450, 1050]];
const KEYS = [
  ["↑ ↓", "next slice of the view, by wheel too"], ["← →", "other map"], ["+ −", "zoom"], ["0", "whole image"],
  ["[ ]", "less, more visible"], ["O", "outline"], ["M", "most important slice"], ["V", "other view"],
  ["Drag", "cursor; right button: window, middle: move"], ["Touch", "drag: cursor; all else by sliders and buttons"],
];
const OUTLINE = "#39d0ff", FULL_AT = 0.4; // of the colours' range: what matters little lets the CT through
// matplotlib's inferno (CC0) at 17 even steps
const INFERNO = ("000004 0b0724 210c4a 3d0965 57106e 71196e 8a226a a32c61 bc3754 " +
  "d24644 e45a31 f1731d f98e09 fcac11 f9cb35 f2ea69 fcffa4").split(" ").map(
  one => [0, 2, 4].map(k => parseInt(one.slice(k, k + 2), 16)));
const WHOLE = 100; // largest noise that is told in whole numbers
const SILENT = 0, SOLID_ORGAN = 0xffffd039; // in a solid: the outline's colour, as ABGR

let nv, ct, organ, codes = {}, shown = null, view = ALL;

function byId(id) { return document.getElementById(id); }

function make(tag, text = "", ...children) {
  const one = document.createElement(tag);
  one.textContent = text;
  one.append(...children);
  return one;
}

// --- words ---

function tell() {
  byId("case").textContent = facts.case;
  byId("model").textContent = facts.model;
  byId("warning").textContent = facts.warning;
  byId("outline-of").textContent = facts.organ.found ? `Outline of ${facts.organ.name}` : `No ${facts.organ.name} found`;
  const words = byId("words");
  byId("doubts").append(...facts.warnings.map(one => make("li", one)));
  byId("doubts").hidden = !facts.warnings.length;
  for (const [name, proof] of Object.entries(facts.proof)) words.append(proved(name, proof));
  if (facts.effects.length) words.append(whatIf());
  const notes = [...facts.corrections, ...facts.notes, ...trimmed()].map(one => make("li", one));
  if (notes.length) words.append(make("div", "", make("h2", "Notes"), make("ul", "", ...notes)));
  byId("about").textContent = [
    `Explained by unoise_engine ${facts.engine}`, facts.page === facts.engine ? "" : `page by ${facts.page}`,
    facts.attribution, "Images by NiiVue",
  ].filter(Boolean).join(" · ");
  for (const [key, what] of KEYS) byId("keys").append(make("dt", key), make("dd", what));
}

function trimmed() {
  const every = facts.every > 1 ? [`The page holds every ${facts.every}th voxel of rows and columns; the files hold all.`] : [];
  const step = `${three(facts.slope)}${facts.unit && " "}${facts.unit}`;
  return facts.rounded ? [...every, `To keep the page small, values of the ${facts.modality} are rounded to ${step} on it.`] : every;
}

function table(title, said, head, rows) {
  const body = rows.map(row => make("tr", "", ...row.map(one => make("td", one))));
  const top = make("thead", "", make("tr", "", ...head.map(one => make("th", one))));
  return make("div", "", make("h2", title), make("table", "", make("caption", said), top, make("tbody", "", ...body)));
}

function proved(name, proof) {
  const title = facts.maps.find(one => one.name === name)?.title ?? name;
  const rows = Object.entries(proof.dice_kept).map(([who, fills]) => {
    const some = Object.values(fills);
    const mean = proof.shares_visible.map((_, k) => some.reduce((sum, one) => sum + one[k], 0) / some.length);
    return [who === "map" ? title : who, ...mean.map(one => one.toFixed(2))];
  });
  const said = `${proof.verdict}; dice kept when only the most important voxels are visible, the rest grey or noise`;
  return table(`Does the map hold? ${title}`, said, ["", ...proof.shares_visible.map(one => `${100 * one} %`)], rows);
}

function whatIf() {
  const amounts = ["ml_after", "ml_lost", "ml_new", "hidden_ml"];
  const rows = facts.effects.map(one => [
    one.hidden.replaceAll("_", " "), one.dice.toFixed(3), ...amounts.map(key => one[key].toFixed(1)), `${Math.round(100 * one.covers)} %`,
  ]);
  const said = `dice of ${facts.organ.name} with and without, the strongest effect first`;
  return table("What if this were hidden?", said,
    ["hidden", "dice", "ml after", "ml lost", "ml new", "ml hidden", "covers"], rows);
}

function trouble(sentence) {
  byId("stage").hidden = byId("controls").hidden = byId("cursor").hidden = true;
  byId("trouble").textContent = sentence;
  byId("trouble").hidden = false;
  document.body.dataset.state = "trouble";
}

// --- data ---

async function unpack(name) {
  const text = document.querySelector(`script[data-volume="${name}"]`).textContent;
  const packed = Uint8Array.from(atob(text), one => one.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Each slice: low bytes, high bytes, of differences from the voxel before, zigzag.
function unfold(bytes) {
  const found = new Int16Array(VOXELS), plane = NX * NY;
  for (let k = 0; k < NZ; k++) {
    for (let i = 0, at = 2 * k * plane, last = 0; i < plane; i++) {
      const folded = bytes[at + i] | bytes[at + plane + i] << 8;
      last = (last + ((folded >>> 1) ^ -(folded & 1))) << 16 >> 16;
      found[k * plane + i] = last;
    }
  }
  return found;
}

// A NIfTI-1 file in memory, which is what NiiVue reads.
function nifti(data, kind, bits, slope = 1, shift = 0) {
  const buffer = new ArrayBuffer(352 + data.byteLength), head = new DataView(buffer);
  const int16 = (at, value) => head.setInt16(at, value, true), float = (at, value) => head.setFloat32(at, value, true);
  head.setInt32(0, 348, true);
  [3, NX, NY, NZ, 1, 1, 1, 1].forEach((n, k) => int16(40 + 2 * k, n));
  int16(70, kind);
  int16(72, bits);
  [1, ...facts.spacing_mm].forEach((mm, k) => float(76 + 4 * k, mm));
  float(108, 352);
  float(112, slope);
  float(116, shift);
  float(124, facts.window[1]);
  float(128, facts.window[0]);
  head.setUint8(123, 2); // mm
  int16(254, 1); // the matrix below: NIfTI's x and y run the other way
  [-1, -1, 1].forEach((sign, k) => float(280 + 20 * k, sign * facts.spacing_mm[k]));
  [110, 43, 49].forEach((letter, k) => head.setUint8(344 + k, letter)); // n+1
  new Uint8Array(buffer, 352).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return buffer;
}

// --- the map's colours ---

function colour(scale) {
  const at = Math.max(0, Math.min(1, scale)) * 16, k = Math.min(15, Math.floor(at));
  return [0, 1, 2].map(c => Math.round(INFERNO[k][c] + (at - k) * (INFERNO[k + 1][c] - INFERNO[k][c])));
}

// The least code that is visible: no more than the share asked for, ties hidden together.
function leastVisible(map, share) {
  const total = map.counts.reduce((sum, n) => sum + n, 0);
  if (share >= 1) return [1, 1];
  let code = 256, seen = 0;
  while (code > 1 && seen + map.counts[code - 1] <= share * total) seen += map.counts[--code];
  return [code, total ? seen / total : 0];
}

function paint() {
  const opacity = byId("opacity").value / 100, share = byId("share").value / 100;
  byId("opacity-said").textContent = `${byId("opacity").value} %`;
  const palette = new Uint8Array(1024), layer = nv.volumes[1];
  let said = "";
  if (shown) {
    const [least, seen] = leastVisible(shown, share);
    said = share < 1 ? `${(100 * seen).toPrecision(2)} %` : "100 %";
    for (let code = 1; code < 256; code++) {
      const scale = shown.values[code] / shown.top, hidden = code < least;
      const alpha = view === SOLID ? (hidden ? 0 : opacity * scale ** 3 / 20) : hidden ? 1 : Math.min(scale / FULL_AT, opacity);
      palette.set([...(hidden ? [0, 0, 0] : colour(scale)), Math.round(255 * alpha)], 4 * code);
    }
  }
  byId("share-said").textContent = said;
  byId("share").disabled = byId("opacity").disabled = byId("most").disabled = !shown;
  const of = new Uint32Array(palette.buffer), pixels = new Uint32Array(VOXELS);
  if (shown) {
    const from = codes[shown.name];
    for (let i = 0; i < VOXELS; i++) pixels[i] = of[from[i]];
  }
  if (view === SOLID && byId("outline").checked) {
    for (let i = 0; i < VOXELS; i++) if (organ[i]) pixels[i] = SOLID_ORGAN;
  }
  layer.img = new Uint8Array(pixels.buffer);
  nv.refreshLayers(layer, 1);
  nv.drawScene();
}

function choose(map) {
  shown = map;
  for (const one of document.querySelectorAll("#maps input")) one.checked = one.value === (map?.name ?? "");
  byId("bar").hidden = !map;
  if (map) {
    byId("low").textContent = map.low;
    byId("high").textContent = map.high;
    byId("note").textContent = map.note;
    const bar = byId("colours").getContext("2d"), row = bar.createImageData(256, 1);
    for (let k = 0; k < 256; k++) row.data.set([...colour(k / 255), 255], 4 * k);
    bar.putImageData(row, 0, 0);
  }
  paint();
  readOut();
}

// --- slices ---

const place = () => [0, 1, 2].map(k => Math.min([NX, NY, NZ][k] - 1, Math.floor(nv.scene.crosshairPos[k] * [NX, NY, NZ][k])));
// NiiVue counts x to the right and y to anterior.
const turned = ([x, y, z]) => [NX - 1 - x, NY - 1 - y, z];
const here = () => turned(place());

function go(voxel) {
  const sizes = [NX, NY, NZ];
  const inside = voxel.map((n, k) => Math.max(0, Math.min(sizes[k] - 1, Math.round(n))));
  nv.scene.crosshairPos = turned(inside).map((n, k) => (n + 0.5) / sizes[k]);
  nv.drawScene();
  readOut();
}

// The middle of the organ where its area is largest, else of the image.
function start() {
  let best = NZ >> 1, most = 0, x = NX / 2, y = NY / 2;
  for (let k = 0; k < NZ; k++) {
    let n = 0, sx = 0, sy = 0;
    for (let i = 0, at = k * NX * NY; i < NX * NY; i++) if (organ[at + i]) { n++; sx += i % NX; sy += Math.floor(i / NX); }
    if (n > most) [most, best, x, y] = [n, k, sx / n, sy / n];
  }
  return [x, y, best];
}

// The axial slice with most of the topmost percent of the voxels, and their middle there.
function mostImportant() {
  const [least] = leastVisible(shown, 0.01), top = Math.min(least, shown.counts.findLastIndex(n => n > 0));
  const from = codes[shown.name];
  let most = 0, found = here();
  for (let k = 0; k < NZ; k++) {
    let n = 0, sx = 0, sy = 0;
    for (let i = 0, at = k * NX * NY; i < NX * NY; i++) {
      if (from[at + i] >= Math.max(2, top)) { n++; sx += i % NX; sy += Math.floor(i / NX); }
    }
    if (n > most) { most = n; found = [sx / n, sy / n, k]; }
  }
  return found;
}

function three(number) { return String(Number(number.toPrecision(3))); }

function valueOf(map, code) {
  const value = map.values[code], most = map.counted_down_from;
  if (most === null) return `${three(value)} ${map.unit}`;
  return `${most >= WHOLE ? Math.round(most - value) : three(most - value)} ${map.unit} of noise`;
}

function readOut(voxel = here()) {
  const [x, y, z] = voxel, at = x + NX * (y + NY * z);
  const value = ct[at] * facts.slope + facts.shift;
  const parts = [[`slice ${facts.first_slice + z + 1} of ${facts.slices} from the feet`]];
  parts.push(facts.unit ? ["", `${Math.round(value)} ${facts.unit}`] : [`${facts.modality} signal `, three(value)]);
  if (shown) {
    const code = codes[shown.name][at], total = shown.counts.reduce((sum, n) => sum + n, 0);
    const below = shown.counts.slice(0, code).reduce((sum, n) => sum + n, 0);
    parts.push(code === SILENT ? [`${shown.title}: nothing here`]
      : [`${shown.title} `, valueOf(shown, code), `, above ${(Math.floor(1000 * below / total) / 10).toFixed(1)} % of the voxels`]);
  }
  byId("cursor").replaceChildren(...parts.map(([before, value = "", after = ""]) => make("span", before, make("b", value), after)));
  const [, , k] = here();
  byId("slice").value = k;
  byId("slice-said").textContent = `${facts.first_slice + k + 1} of ${facts.slices} from the feet`;
}

// --- the outline: marching squares on the mask, in each slice that is seen ---

const AXES = { [AXIAL]: [0, 1, 2], [CORONAL]: [0, 2, 1], [SAGITTAL]: [1, 2, 0] }; // across, up, through
const EDGES = [[], [[3, 2]], [[2, 1]], [[3, 1]], [[0, 1]], [[0, 3], [2, 1]], [[0, 2]], [[0, 3]],
  [[0, 3]], [[0, 2]], [[0, 1], [3, 2]], [[0, 1]], [[3, 1]], [[2, 1]], [[3, 2]], []];
const MIDDLES = [[0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5]]; // of a cell's sides: top, right, bottom, left

function segments(kind) {
  const [a, b, through] = AXES[kind], sizes = [NX, NY, NZ], strides = [1, NX, NX * NY];
  const base = here()[through] * strides[through], found = [];
  const inside = (u, v) => u >= 0 && v >= 0 && u < sizes[a] && v < sizes[b] && organ[base + u * strides[a] + v * strides[b]];
  for (let v = -1; v < sizes[b]; v++) {
    for (let u = -1; u < sizes[a]; u++) {
      const cell = (inside(u, v) ? 8 : 0) | (inside(u + 1, v) ? 4 : 0) | (inside(u + 1, v + 1) ? 2 : 0) | (inside(u, v + 1) ? 1 : 0);
      for (const pair of EDGES[cell]) found.push(pair.map(e => [u + 0.5 + MIDDLES[e][0], v + 0.5 + MIDDLES[e][1]]));
    }
  }
  return found;
}

function drawLines() {
  const canvas = byId("lines"), pen = canvas.getContext("2d");
  [canvas.width, canvas.height] = [byId("gl").width, byId("gl").height];
  if (!byId("outline").checked || !facts.organ.found) return;
  pen.strokeStyle = OUTLINE;
  pen.lineWidth = 1.5 * (window.devicePixelRatio || 1);
  pen.lineCap = "round";
  for (const tile of nv.screenSlices) {
    if (tile.axCorSag > SAGITTAL) continue;
    const [a, b] = AXES[tile.axCorSag], sizes = [NX, NY, NZ], low = nv.frac2mm([0, 0, 0]), high = nv.frac2mm([1, 1, 1]);
    let [left, top, width, height] = tile.leftTopWidthHeight;
    const mirrored = width < 0;
    if (mirrored) [left, width] = [left + width, -width];
    const across = (n, axis, k) => { // fraction of the tile at which a voxel's coordinate lies
      const share = axis < 2 ? 1 - n / sizes[axis] : n / sizes[axis];
      return (low[axis] + share * (high[axis] - low[axis]) - tile.leftTopMM[k]) / tile.fovMM[k];
    };
    const point = ([u, v]) => {
      const x = across(u, a, 0), y = across(v, b, 1);
      return [left + (mirrored ? 1 - x : x) * width, top + (1 - y) * height];
    };
    pen.save();
    pen.beginPath();
    pen.rect(left, top, width, height);
    pen.clip();
    pen.beginPath();
    for (const [from, to] of segments(tile.axCorSag)) { pen.moveTo(...point(from)); pen.lineTo(...point(to)); }
    pen.stroke();
    pen.restore();
  }
}

// --- controls ---

function press(group, name) {
  for (const one of byId(group).children) one.setAttribute("aria-pressed", one.textContent === name);
}

function setView(name) {
  const before = view;
  view = VIEWS.find(one => one[0] === name)[1];
  press("views", name);
  nv.setSliceType(view);
  if ((before === SOLID) === (view === SOLID)) return;
  nv.volumes[0].opacity = view === SOLID ? 0.3 : 1;
  nv.refreshLayers(nv.volumes[0], 0);
  paint(); // what hides the rest of the CT would hide all of a solid
}

// The cursor stays where it is on the screen; 0: the whole image again.
function setZoom(times) {
  const now = nv.scene.pan2Dxyzmm, zoom = Math.max(1, Math.min(12, now[3] * times)), cursor = nv.frac2mm(nv.scene.crosshairPos);
  nv.setPan2Dxyzmm([...[0, 1, 2].map(k => zoom === 1 ? 0 : now[k] + cursor[k] * (now[3] - zoom)), zoom]);
}

function setWindow(name, low, high) {
  press("windows", name);
  nv.volumes[0].cal_min = low;
  nv.volumes[0].cal_max = high;
  nv.refreshLayers(nv.volumes[0], 0);
  nv.drawScene();
}

function addControls() {
  for (const map of [...facts.maps, null]) {
    const pick = Object.assign(document.createElement("input"), { type: "radio", name: "map", value: map?.name ?? "" });
    pick.addEventListener("change", () => choose(map));
    byId("maps").append(make("label", "", pick, ` ${map?.title ?? "None"}`));
  }
  for (const [name] of VIEWS) byId("views").append(button(name, () => setView(name)));
  const windows = facts.modality === "CT" ? WINDOWS : [["Usual window", ...facts.window]];
  for (const one of windows) byId("windows").append(button(one[0], () => setWindow(...one)));
  byId("slice").max = NZ - 1;
  for (const id of ["opacity", "share"]) byId(id).addEventListener("input", paint);
  byId("slice").addEventListener("input", () => go([...here().slice(0, 2), Number(byId("slice").value)]));
  byId("most").addEventListener("click", () => go(mostImportant()));
  byId("outline").addEventListener("change", paint);
  byId("outline").disabled = !facts.organ.found;
  byId("in").addEventListener("click", () => setZoom(1.25));
  byId("out").addEventListener("click", () => setZoom(0.8));
  document.addEventListener("keydown", key);
  byId("gl").addEventListener("pointermove", hover);
  byId("gl").addEventListener("pointerleave", () => readOut());
  byId("gl").addEventListener("webglcontextlost", () => trouble("The graphics card gave the images up - load the page again."));
}

function button(name, act) {
  const one = make("button", name);
  one.type = "button";
  one.addEventListener("click", act);
  return one;
}

function hover(event) {
  if (event.pointerType !== "mouse") return;
  const box = byId("gl").getBoundingClientRect(), times = byId("gl").width / box.width;
  const at = nv.canvasPos2frac([(event.clientX - box.left) * times, (event.clientY - box.top) * times]);
  if (at[0] < 0) return readOut();
  readOut(turned([0, 1, 2].map(k => Math.min([NX, NY, NZ][k] - 1, Math.floor(at[k] * [NX, NY, NZ][k])))));
}

function other(list, now, by) { return list[(list.indexOf(now) + by + list.length) % list.length]; }

function step(by) {
  const voxel = here(), axis = AXES[view > SAGITTAL ? AXIAL : view][2];
  voxel[axis] += axis === 1 ? -by : by;
  go(voxel);
}

function slide(id, by) {
  byId(id).value = Number(byId(id).value) + by;
  paint();
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.type === "range" || event.target.type === "radio") if (event.key.startsWith("Arrow")) return;
  const acts = {
    ArrowUp: () => step(1), ArrowDown: () => step(-1),
    ArrowLeft: () => choose(other([...facts.maps, null], shown, -1)),
    ArrowRight: () => choose(other([...facts.maps, null], shown, 1)),
    "+": () => setZoom(1.25), "=": () => setZoom(1.25), "-": () => setZoom(0.8), 0: () => setZoom(0),
    "[": () => shown && slide("share", -1), "]": () => shown && slide("share", 1),
    o: () => byId("outline").click(), m: () => shown && go(mostImportant()),
    v: () => setView(other(VIEWS.map(one => one[0]), VIEWS.find(one => one[1] === view)[0], 1)),
  };
  const act = acts[event.key] ?? acts[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act();
}

// --- all of it ---

async function open() {
  tell();
  if (!window.niivue) {
    return trouble(`The viewer is not beside this page (${byId("viewer").getAttribute("src")}) - hand on the whole folder of results.`);
  }
  const gl = document.createElement("canvas").getContext("webgl2");
  if (!gl || typeof DecompressionStream === "undefined") {
    const lacks = gl ? "is too old for these images" : "has no WebGL 2, which draws the images";
    return trouble(`This browser ${lacks} - use a current Firefox, Chrome, Edge or Safari, with hardware acceleration switched on.`);
  }
  const most = gl.getParameter(gl.MAX_3D_TEXTURE_SIZE);
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  if (Math.max(NX, NY, NZ) > most) {
    return trouble(`The graphics card takes ${most} voxels a side, and this CT has more - use another computer, or make the page with --crop organ.`);
  }
  try {
    ct = unfold(await unpack("ct"));
    organ = await unpack("segmentation");
    for (const map of facts.maps) codes[map.name] = await unpack(`importance-${map.name}`);
  } catch (error) {
    return trouble(`The data of this page are damaged (${error.message}) - make it again with unoise_engine view.`);
  }
  nv = new niivue.Niivue({
    logLevel: "error", loadingText: "", dragAndDropEnabled: false, isColorbar: false, backColor: [0, 0, 0, 1],
    isRadiologicalConvention: true, sagittalNoseLeft: true, crosshairColor: [0.35, 0.55, 0.65, 1], crosshairWidth: 0.5,
    crosshairWidthUnit: "pixels", crosshairGap: 12, multiplanarShowRender: 0, multiplanarPadPixels: 6,
    isForceMouseClickToVoxelCenters: true, viewModeHotKey: "", clipPlaneHotKey: "", cycleClipPlaneHotKey: "",
    dragMode: 9, fontColor: [0.85, 0.88, 0.9, 1], fontSizeScaling: 0.3, show3Dcrosshair: false,
    onLocationChange: () => readOut(),
  });
  nv.keyDownListener = nv.keyUpListener = () => {}; // the page has keys of its own,
  nv.resetBriCon = () => {}; // and a long touch leaves the window as it is
  await nv.attachToCanvas(byId("gl"), true);
  await nv.loadFromArrayBuffer(nifti(ct, 4, 16, facts.slope, facts.shift), "ct.nii");
  await nv.loadFromArrayBuffer(nifti(new Uint32Array(VOXELS), 2304, 32), "map.nii");
  const draw = nv.drawScene.bind(nv);
  nv.drawScene = () => { draw(); drawLines(); };
  nv.setInterpolation(false);
  addControls();
  press("windows", byId("windows").firstChild.textContent); // it stands in the CT's header
  setView(NZ < 4 ? "Axial" : "All");
  choose(facts.maps[0] ?? null);
  go(start());
  document.body.dataset.state = "shown";
}

open().catch(error => trouble(`The images cannot be shown (${error.message}) - load the page again, or use another browser.`));
