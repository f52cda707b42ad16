"use strict";
// Elements, words for numbers and times, and a redraw that touches only what differs. Text is set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const DRAWN = new Set(["svg", "g", "path", "rect", "circle", "line", "text", "title", "defs", "marker"]);

/** Return an element with attributes and children; null children are left out. */
function el(name, attributes, ...children) {
  const node = DRAWN.has(name) ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined) node.setAttribute(key, String(value));
  }
  for (const child of children.flat(3)) {
    if (child !== null && child !== undefined) node.append(child instanceof Node ? child : String(child));
  }
  return node;
}

/** Make `old` like `fresh`, keeping what is the same: focus, selections and opened details stay. */
function patch(old, fresh) {
  if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return undefined;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (name === "style") old.style.cssText = fresh.style.cssText; // the policy lets no text be set as style
    else if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const before = [...old.childNodes], after = [...fresh.childNodes];
  after.forEach((child, place) => (place < before.length ? patch(before[place], child) : old.append(child)));
  before.slice(after.length).forEach((child) => child.remove());
  return undefined;
}

/** Return a time span as one says it. */
function span(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 9.95) return `${Number(Math.max(0, seconds).toFixed(1))} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** Return a date and time of day where the reader is. */
function when(seconds) {
  const date = new Date(seconds * 1000), two = (number) => String(number).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** Return a number with four digits. */
function short(value) {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  return size !== 0 && (size >= 1e6 || size < 1e-4) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

/** Return a number with four digits, zeros too: in a column they stand below each other. */
function even(value) {
  return value === null || value === undefined || Math.abs(value) >= 1e4 || (value && Math.abs(value) < 1e-4)
    ? short(value) : value.toPrecision(4);
}

/** Return a count with its word. */
function count(number, word) {
  return `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
}

/** Return a rate as one says it. */
function rate(perSecond) {
  if (!perSecond) return "";
  if (perSecond >= 0.5) return `${short(Number(perSecond.toPrecision(2)))} / s`;
  return perSecond >= 0.5 / 60 ? `${short(Number((perSecond * 60).toPrecision(2)))} / min`
    : `${short(Number((perSecond * 3600).toPrecision(2)))} / h`;
}
