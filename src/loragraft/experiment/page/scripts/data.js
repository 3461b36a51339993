// The samples as the page holds them, and small things that all scripts use.
const read = (id) => JSON.parse(document.getElementById(id)?.textContent ?? "null");
const data = read("data-samples");
const byId = (id) => document.getElementById(id);

let passages = null; // read when the first sample is opened
const passageAt = (number) => (passages ??= read("data-passages"))[number];

const questions = data.questions.map(
  ([id, text, expected, type, paper, seen, answers], number) => ({
    id, text, expected, type: data.types[type], paper, seen, number,
    answers: Object.entries(answers).map(([arm, found]) => ({
      arm: Number(arm),
      found: found.map(([status, parts, repeat, labels, scores, tags]) => ({
        status, parts, repeat, labels, scores, tags,
      })),
    })),
  }),
);

const textOf = (answer) =>
  answer.parts.map((part) => (typeof part === "string" ? part : part[0])).join("");

// Makes an element; texts become text, never markup.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";
const LOOKS = 6;

function markerOf(arm) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `marker e${arm % LOOKS}`);
  svg.setAttribute("viewBox", "-7 -7 14 14");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#m${arm % LOOKS}`);
  svg.append(use);
  return svg;
}

// A name that may be broken behind each underscore, hyphen and slash.
const breakable = (text) =>
  text.split(/(?<=[_/-])/u).flatMap((part, number) => (number ? [make("wbr"), part] : [part]));

const nameOf = (arm) =>
  make("span", { class: "arm" }, markerOf(arm), "\u2060", ...breakable(data.experiments[arm]));

const SIGNS = { win: "▲", loss: "▼", tie: "=", ungrounded: "○", "fabricated citation": "⚠", missing: "∅" };
const tagOf = (tag) =>
  make("span", { class: `tag ${tag.split(" ")[0]}` }, `${SIGNS[tag]} ${tag}`);
const counted = (number) => number.toLocaleString("en-US");
