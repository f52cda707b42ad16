// Figures: curves with axes, and the stages with their arrows.

/** Return about `most` round numbers from low to high. */
function ticks(low, high, most) {
  const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const found = [];
  for (let place = Math.ceil(low / step); place * step <= high + 1e-9 * step; place += 1) found.push(place * step);
  return found;
}

/** Return round numbers for a logarithmic axis. */
function powers(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const one of high / low > 1e3 ? [1] : [1, 2, 5]) found.push(one * 10 ** power);
  }
  return found.filter((one) => one >= low && one <= high);
}

/** Return where the numbers of an axis stand: a function to places, and its ticks. */
function axis(values, from, to, { log = false, whole = false, most = 5 } = {}) {
  let low = Math.min(...values), high = Math.max(...values);
  if (log) {
    [low, high] = [low / 1.15, high * 1.15];
    const scale = (to - from) / Math.log(high / low);
    return { at: (value) => from + Math.log(value / low) * scale, ticks: powers(low, high) };
  }
  const room = high > low ? (whole ? 0 : 0.06 * (high - low)) : whole ? 0.5 : Math.abs(high) / 10 || 1;
  [low, high] = [low - room, high + room];
  const marks = ticks(low, high, most).filter((one) => !whole || Number.isInteger(one));
  return { at: (value) => from + ((value - low) / (high - low)) * (to - from), ticks: marks };
}

/** Return the numbers of an axis with equally many digits behind the point. */
function alike(numbers) {
  const words = numbers.map(short), plain = words.every((word) => !word.includes("e"));
  const digits = Math.max(0, ...words.map((word) => (word.split(".")[1] || "").length));
  return plain ? numbers.map((value) => value.toFixed(digits)) : words;
}

/** Return the path of a curve with gaps where there is no number; as steps if it is a best so far. */
function trace(points, x, y, stepped) {
  let path = "", on = false, level = 0;
  for (const [one, value] of points) {
    if (value === null) { on = false; continue; }
    const [across, up] = [x.at(one).toFixed(1), y.at(value).toFixed(1)];
    path += on ? (stepped ? `L${across},${level}L${across},${up}` : `L${across},${up}`) : `M${across},${up}`;
    [on, level] = [true, up];
  }
  return path;
}

/**
 * Return a figure of curves: `series` with a name, points [x, y], and how they are drawn:
 * kind line, step or dots, and the number of a colour; one without a name is not in the legend; `log` draws y on a logarithmic scale.
 */
function plot({ label, told, x, y, series, log = false, caption }) {
  const [width, height, left, right, top, bottom] = [460, 270, 58, 14, 12, 42];
  const shown = series.map((one) => ({ ...one, points: one.points.filter(([, value]) => value !== null || one.kind === "line") }));
  const all = shown.flatMap((one) => one.points).filter(([, value]) => value !== null);
  if (!all.length) return null;
  const across = axis(all.map(([value]) => value), left, width - right, { whole: true, most: 6 });
  const up = axis(all.map(([, value]) => value), height - bottom, top, { log });
  const words = log ? up.ticks.map(short) : alike(up.ticks);
  const grid = up.ticks.map((value, place) => el("g", {},
    el("line", { class: "grid", x1: left, x2: width - right, y1: up.at(value), y2: up.at(value) }),
    el("text", { class: "tick", x: left - 7, y: up.at(value) + 4, "text-anchor": "end" }, words[place])));
  const below = across.ticks.map((value) => el("text",
    { class: "tick", x: across.at(value), y: height - bottom + 18, "text-anchor": "middle" }, short(value)));
  const frame = el("path", { class: "axis", d: `M${left},${top}V${height - bottom}H${width - right}` });
  const names = [
    el("text", { class: "name", x: (left + width - right) / 2, y: height - 5, "text-anchor": "middle" }, x),
    el("text", { class: "name", x: 0, y: 0, "text-anchor": "middle",
      transform: `translate(13,${(top + height - bottom) / 2}) rotate(-90)` }, y),
  ];
  const curves = shown.map((one) => (one.kind === "dots"
    ? one.points.map(([number, value, words]) => el("circle",
      { class: `dot c${one.colour}`, cx: across.at(number), cy: up.at(value), r: one.size || 2.6 },
      words ? el("title", {}, words) : null))
    : el("path", { class: `curve c${one.colour}${one.dashed ? " dashed" : ""}`, d: trace(one.points, across, up, one.kind === "step") })));
  const legend = el("ul", { class: "legend" }, series.filter((one) => one.name).map((one) => el("li", {},
    el("svg", { viewBox: "0 0 22 10", "aria-hidden": "true" }, one.kind === "dots"
      ? el("circle", { class: `dot c${one.colour}`, cx: 11, cy: 5, r: 3.5 })
      : el("path", { class: `curve c${one.colour}${one.dashed ? " dashed" : ""}`, d: "M1,5H21" })), one.name)));
  return el("figure", {},
    el("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${label}. ${told}` }, grid, below, frame, curves, names),
    legend, caption ? el("figcaption", {}, caption) : null);
}

/** Return the layers of a graph: each rule in the layer after the last of those it waits for, long arrows through places. */
function layers(rules, arrows) {
  const depth = Object.create(null), before = (rule) => arrows.filter(([, to]) => to === rule).map(([from]) => from);
  for (const rule of rules) depth[rule] = Math.max(0, ...before(rule).map((one) => depth[one] + 1));
  const found = [], places = new Map(), links = [];
  const put = (key, layer, parent) => {
    if (!places.has(key)) {
      const place = { key, layer, parents: [], row: 0 };
      places.set(key, place);
      (found[layer] = found[layer] || []).push(place);
    }
    if (parent) {
      if (!places.get(key).parents.includes(parent)) links.push([parent, places.get(key)]);
      places.get(key).parents.push(parent);
    }
    return places.get(key);
  };
  for (const rule of [...rules].sort((one, other) => depth[one] - depth[other])) {
    const own = put(rule, depth[rule], null);
    for (const from of before(rule)) {
      let parent = places.get(from);
      for (let layer = depth[from] + 1; layer < depth[rule]; layer += 1) parent = put(`${from} ${layer}`, layer, parent);
      put(own.key, own.layer, parent);
    }
  }
  for (const layer of found) {
    const wish = (place) => (place.parents.length
      ? place.parents.reduce((sum, one) => sum + one.row, 0) / place.parents.length : 0);
    layer.sort((one, other) => wish(one) - wish(other) || one.key.includes(" ") - other.key.includes(" "));
    layer.forEach((place, row) => { place.row = row - (layer.length - 1) / 2; });
  }
  return { found, links };
}

/** Return the stages as boxes with arrows, each coloured by its state. */
function chain(stages, arrows) {
  const { found, links } = layers(stages.map((stage) => stage.rule), arrows);
  const [box, high, gap, rows] = [112, 62, 26, Math.max(...found.map((layer) => layer.length))];
  const [width, height] = [found.length * (box + gap) - gap + 4, rows * (high + 18) + 2];
  const left = (place) => 2 + place.layer * (box + gap), middle = (place) => height / 2 + place.row * (high + 18);
  const isBox = (place) => !place.key.includes(" ");
  const curves = links.map(([from, to]) => {
    const [x, y, end, at] = [left(from) + box, middle(from), left(to) - (isBox(to) ? 4 : 0), middle(to)];
    const bend = (x + end) / 2, start = isBox(from) ? "" : `M${left(from)},${y}H${x}`;
    return el("path", { class: "arrow", d: `${start}M${x},${y}C${bend},${y} ${bend},${at} ${end},${at}`,
      "marker-end": isBox(to) ? "url(#tip)" : null });
  });
  const boxes = stages.map((stage) => {
    const place = found.flat().find((one) => one.key === stage.rule), [x, y] = [left(place), middle(place) - high / 2];
    const share = stage.planned ? stage.done / stage.planned : 1;
    return el("g", { class: `box ${looks(stage)}` },
      el("title", {}, told(stage)),
      el("rect", { class: "frame", x, y, width: box, height: high, rx: 9 }),
      el("text", { class: "rule", x: x + box / 2, y: y + 22, "text-anchor": "middle" }, stage.rule.slice(0, 14)),
      el("text", { class: "jobs", x: x + box / 2, y: y + 40, "text-anchor": "middle" },
        stage.planned ? `${stage.done} of ${stage.planned}` : "made before"),
      el("rect", { class: "groove", x: x + 10, y: y + 49, width: box - 20, height: 5, rx: 2.5 }),
      el("rect", { class: "filled", x: x + 10, y: y + 49, width: (box - 20) * share, height: 5, rx: 2.5 }));
  });
  const tip = el("defs", {}, el("marker", { id: "tip", viewBox: "0 0 10 10", refX: 8, refY: 5, markerWidth: 5.5,
    markerHeight: 5.5, orient: "auto" }, el("path", { class: "tip", d: "M0,0L10,5L0,10z" })));
  return el("svg", { class: "chain", viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Stages in order: ${stages.map(told).join("; ")}` }, tip, curves, boxes);
}

/** Return the state of a stage in a word, which is its colour. */
function looks(stage) {
  if (!stage.planned) return "before";
  if (stage.failed) return "failed";
  if (stage.running) return "running";
  return stage.done >= stage.planned ? "done" : "pending";
}

/** Return a stage in words. */
function told(stage) {
  if (!stage.planned) return `${stage.rule}: ${count(stage.earlier, "job")} of an earlier run`;
  const parts = [[stage.running, "running"], [stage.failed, "failed"], [stage.pending, "to come"]];
  return [`${stage.rule}: ${stage.done} of ${stage.planned} done`,
    ...parts.filter(([number]) => number).map(([number, word]) => `${number} ${word}`)].join(", ");
}
