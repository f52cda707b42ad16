// The page: sections of a campaign, drawn from the state; live pages ask for it every two seconds.

const LIVE = document.documentElement.hasAttribute("data-live");
const PAUSE = 2000;
const WORDS = { begins: "beginning", runs: "running", ended: "done", failed: "failed", gone: "stopped", never: "not run yet" };
const ASKED = `state.json${location.search}`; // with the token, where cookies are refused

let state = null, ahead = 0, lost = null;
const drawn = new Map();

/** Return the time of the server: what is shown in a file is as old as the file. */
function now() {
  return LIVE ? Date.now() / 1000 + ahead : state.made;
}

/** Return how long something lasts; a live page counts on. */
function since(begun) {
  return el("span", { "data-since": begun }, span(now() - begun));
}

function stateOf(campaign) {
  return campaign.course ? campaign.course.state : "never";
}

function badge(campaign) {
  return el("span", { class: `badge ${stateOf(campaign)}` }, WORDS[stateOf(campaign)]);
}

/** Return a bar of done, running, failed and pending jobs. */
function bar(stage, label) {
  const all = Math.max(1, stage.done + stage.running + stage.failed + stage.pending);
  const parts = ["done", "running", "failed"].filter((name) => stage[name]).map((name) => {
    const part = el("span", { class: name });
    part.style.width = `${(100 * stage[name]) / all}%`;
    return part;
  });
  return el("div", { class: "bar", role: "img", "aria-label": label }, parts);
}

function section(id, title, ...content) {
  return el("section", { id, "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title), content);
}

function command(text) {
  return el("code", { class: "command" }, text);
}

/** The state of the run in a sentence, a bar and some numbers. */
function overview(campaign) {
  const course = campaign.course;
  if (!course) {
    return section("overview", "Not run yet", el("p", { class: "why" }, "No run of this campaign is known in this folder. It is started by:"),
      command(campaign.again));
  }
  const pending = Math.max(0, course.planned - course.done - course.running - course.failed);
  const sentence = {
    begins: ["What is to be done is being looked for."],
    runs: ["Running for ", since(course.begun), " on ", course.host, course.left === null
      ? ". How long the rest takes is not known yet." : `; about ${span(course.left)} left if as many jobs run at once as did.`],
    ended: [`All jobs of the last run are done. It took ${span(course.last - course.begun)}.`],
    failed: [`The run has ended, and ${count(course.failed, "job")} failed; what waits for them was not run. The causes are below. When they are mended:`],
    gone: ["The driver was stopped or killed, so nothing runs. What is done stays. To go on:"],
  }[course.state];
  const tiles = [["done", `${course.done} of ${course.planned}`], ["running", course.running], ["failed", course.failed], ["to come", pending]];
  return section("overview", `Last run: ${WORDS[course.state]}`, el("p", { class: "why" }, sentence),
    ["failed", "gone"].includes(course.state) ? command(campaign.again) : null,
    bar({ ...course, pending }, `${course.done} of ${course.planned} jobs done, ${course.running} running, ${course.failed} failed`),
    el("dl", { class: "tiles" }, tiles.map(([name, value]) => el("div", { class: value ? name.replace(" ", "-") : "" },
      el("dt", {}, name), el("dd", {}, value)))),
    el("p", { class: "fine" }, `begun ${when(course.begun)} on ${course.host}; last event ${when(course.last)}`));
}

/** The stages as a picture, and as a table with bars. */
function stages(campaign) {
  const { stages: found, arrows } = campaign.course;
  if (!found.length) return null;
  const head = ["stage", "progress", "done", "running", "failed", "to come", "a job takes", "rate", "left"];
  const rows = found.map((stage) => (stage.planned
    ? el("tr", {}, el("th", { scope: "row" }, stage.rule), el("td", { class: "wide" }, bar(stage, told(stage))),
      el("td", { class: "n" }, `${stage.done} / ${stage.planned}`),
      ["running", "failed", "pending"].map((name) => el("td", { class: `n ${stage[name] ? name : ""}` }, stage[name] || "")),
      [span(stage.seconds), rate(stage.rate), span(stage.left)].map((text) => el("td", { class: "n rest" }, text)))
    : el("tr", { class: "before" }, el("th", { scope: "row" }, stage.rule),
      el("td", { colspan: 8 }, `${count(stage.earlier, "job")} of an earlier run; not part of this one`))));
  const key = ["done", "running", "failed", "to come"].map((name) => el("li", {}, el("i", { class: name.replace(" ", "-") }), name));
  return section("stages", "Stages",
    el("p", { class: "why" }, "A stage runs when those before it are done; each is made of jobs. What an earlier run has made is not counted."),
    el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "picture of the stages" }, chain(found, arrows)),
    el("ul", { class: "key" }, key),
    el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "table of the stages" },
      el("table", { class: "stages" },
        el("thead", {}, el("tr", {}, head.map((name, place) => el("th", { scope: "col", class: place > 1 ? `n ${place > 5 ? "rest" : ""}` : "" }, name)))),
        el("tbody", {}, rows))));
}

function log(lines, path) {
  return [lines.length ? el("pre", { tabindex: "0" }, lines.join("\n")) : null, path ? el("p", { class: "fine" }, `log: ${path}`) : null];
}

/** What failed, by cause. */
function failures(campaign) {
  const { failures: found, causes } = campaign.course;
  if (!found.length) return null;
  const blocks = found.map((one) => el("article", { class: "failure" },
    el("h3", {}, el("b", {}, one.rule), `: ${count(one.count, "job")}: ${one.cause}`), log(one.lines, one.jobs[0].log),
    el("details", {}, el("summary", {}, `which ${one.count === 1 ? "job" : "jobs"}`),
      el("ul", {}, one.jobs.map((job) => el("li", {}, job.name, job.tries > 1 ? ` (after ${job.tries} tries)` : "", job.log ? `: ${job.log}` : "")),
        one.count > one.jobs.length ? el("li", {}, `and ${one.count - one.jobs.length} more`) : null))));
  return section("failures", "What failed", el("p", { class: "why" }, "Grouped by cause, with the end of the first job's log. A job that another attempt mended is not here."),
    blocks, causes > found.length ? el("p", {}, `and ${causes - found.length} more causes: `, command(campaign.again.replace("campaign run", "campaign failures").replace(" --cores 2", ""))) : null,
    el("p", { class: "why" }, "What failed and what waits for it is run again by"), command(campaign.again));
}

/** The jobs that run now. */
function running(campaign) {
  const { jobs, more } = campaign.course;
  if (!jobs.length) return null;
  return section("running", "Running now", el("ul", { class: "jobs" }, jobs.map((job) => el("li", {},
    el("p", {}, el("b", {}, job.rule), ` ${job.name} `, el("span", { class: "age" }, "for ", since(job.started))), log(job.lines, job.log)))),
  more ? el("p", { class: "fine" }, `and ${count(more, "more job")}`) : null);
}

/** The curves of the trainings. */
function training(campaign) {
  const { shown, more } = campaign.trainings;
  if (!shown.length) return null;
  const points = (one, name) => one.curves.epoch.map((epoch, place) => [epoch, one.curves[name][place]]);
  const losses = shown.flatMap((one, place) => [
    { name: `${one.name}, validation`, points: points(one, "validation_loss"), kind: "line", colour: place },
    { name: `${one.name}, training`, points: points(one, "train_loss"), kind: "line", colour: place, dashed: true },
  ]);
  const apart = shown.filter((one) => one.curves.validation_auc);
  const areas = apart.map((one, place) => ({ name: one.name, points: points(one, "validation_auc"), kind: "line", colour: place }));
  const kept = shown.map((one, place) => ({ name: null, kind: "dots", size: 5, colour: place, points: points(one, "validation_loss").filter(([epoch]) => epoch === one.best) }));
  const last = (name, word) => shown.filter((one) => one.last && name in one.last).map((one) => `${one.name}: ${word} ${short(one.last[name])} in epoch ${one.last.epoch}`).join("; ");
  const lines = shown.map((one) => {
    const epoch = one.last ? one.last.epoch : 0;
    const how = one.done ? `ended after ${count(epoch, "epoch")}; the weights of epoch ${one.best} were kept`
      : `${epoch} of at most ${one.epochs} epochs${one.step ? `; step ${one.step.step}, ${short(one.step.jets_per_second)} jets per second` : ""}`;
    return el("li", {}, el("b", {}, one.name), `: ${how}`, one.last ? `; validation loss ${short(one.last.validation_loss)}${"validation_auc" in one.last ? `, AUC ${short(one.last.validation_auc)}` : ""}` : "");
  });
  return section("training", "Training", el("ul", { class: "lines" }, lines), more ? el("p", { class: "fine" }, `and ${more} more trainings`) : null,
    el("div", { class: "figures" },
      plot({ label: "Loss by epoch", told: last("validation_loss", "validation loss"), x: "epoch", y: "loss", series: [...losses, ...kept],
        caption: "Lower is better. A dot marks the epoch with the best validation loss so far." }),
      apart.length === 0 ? null : plot({ label: "AUC by epoch", told: last("validation_auc", "AUC"), x: "epoch", y: "validation AUC", series: areas, caption: "How well the validation split is told apart; 1 is perfect, 0.5 is chance." })));
}

/** The evaluations of the scan. */
function scan(campaign) {
  const found = campaign.scan;
  if (!found) return null;
  const failed = found.failed.reduce((sum, [, number]) => sum + number, 0);
  const told = [`${found.ended} of ${found.wanted} evaluations have ended`, failed ? `${failed} of them failed (${found.failed.map(([reason, number]) => `${number} ${reason}`).join(", ")})` : null,
    found.running ? (found.left === null ? null : `about ${span(found.left)} to go`) : "it does not run now",
    found.slots ? `${count(found.slots, "slot")}${found.busy === null ? "" : `, busy ${Math.round(100 * found.busy)} % of the time`}` : null];
  const ended = found.points.filter(([, , status]) => status === "ok"), stopped = found.points.filter(([, , status]) => status !== "ok");
  const values = found.points.map(([, value]) => value);
  const log = values.length > 0 && Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > 20;
  const dots = (points, name, colour) => ({ name, kind: "dots", colour, points: points.map(([number, value]) => [number, value, `evaluation ${number}: ${short(value)}`]) });
  const steps = found.steps.length && found.points.length ? [...found.steps, [found.points[found.points.length - 1][0], found.steps[found.steps.length - 1][1]]] : [];
  const series = [dots(ended, "evaluation", 0), stopped.length ? dots(stopped, "stopped early", "grey") : null, { name: "best so far", kind: "step", colour: 2, points: steps }].filter(Boolean);
  const drawnOf = found.ended - failed > found.points.length ? ` ${found.points.length} of ${found.ended - failed} are drawn, the lowest and the highest of each stretch.` : "";
  const row = (one) => el("tr", {}, el("td", {}, one.number), el("td", {}, one.status || ["for ", since(one.started)]), el("td", { class: "n" }, even(one.value)),
    el("td", { class: "n" }, one.status ? span(one.seconds) : ""), el("td", { class: "point" }, one.values));
  const rows = [...found.going, ...found.latest];
  return section("scan", "Scan", el("p", { class: "why" }, `Short trainings search the settings with the best ${found.objective}. ${told.filter(Boolean).join("; ")}.`),
    found.best ? el("p", { class: "best" }, el("b", {}, `${found.objective} ${short(found.best.value)}`), ` in evaluation ${found.best.number}: `, el("code", {}, found.best.values),
      found.limits.length ? el("span", { class: "fine" }, ` Limits (${found.limits.join(", ")}) are looked at when it ends.`) : null) : null,
    el("div", { class: "figures" }, plot({ label: `${found.objective} of the scan's evaluations`, told: found.best ? `best so far ${short(found.best.value)} in evaluation ${found.best.number}` : "", x: "evaluation", y: found.objective, log, series,
      caption: `${found.larger ? "Higher" : "Lower"} is better.${drawnOf}` }),
    rows.length ? el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "latest evaluations" }, el("table", {},
      el("caption", {}, "Latest evaluations"),
      el("thead", {}, el("tr", {}, [["", ""], ["ended", ""], [found.objective, "n"], ["took", "n"], ["settings", ""]].map(([name, kind]) => el("th", { scope: "col", class: kind }, name || "no.")))),
      el("tbody", {}, rows.map(row)))) : null));
}

/** What was asked for, and where the results are. */
function settings(campaign) {
  const places = [["campaign file", campaign.file], ["results", campaign.output], ["report", campaign.report || "not made yet"]];
  return section("settings", "The campaign", el("dl", { class: "pairs" },
    [...campaign.settings, ...places].map(([name, value], place) => el("div", {}, el("dt", {}, name), el("dd", {}, place < campaign.settings.length ? value : el("code", {}, value))))));
}

function problems(campaign) {
  if (!campaign.problems.length) return null;
  return section("problems", "What cannot be shown", campaign.problems.map((problem) => el("pre", { class: "warn", tabindex: "0" }, problem)));
}

/** Each section: of what part of a campaign's state it is made, and how; `course` only where it has been run. */
const SECTIONS = {
  problems: [(one) => one.problems, problems],
  overview: [(one) => [one.course, one.again], overview],
  failures: [(one) => one.course && one.course.failures, failures],
  stages: [(one) => one.course && one.course.stages, stages],
  running: [(one) => one.course && [one.course.jobs, one.course.more], running],
  training: [(one) => one.trainings, training],
  scan: [(one) => one.scan, scan],
  settings: [(one) => [one.settings, one.report], settings],
};

/** The campaigns to choose from. */
function choice(chosen) {
  if (state.campaigns.length < 2) return null;
  return el("nav", { class: "cards", "aria-label": "campaigns" }, state.campaigns.map((campaign, place) => {
    const course = campaign.course, all = course ? course.planned : 0;
    return el("a", { class: "card", href: `#${place + 1}`, "aria-current": place === chosen ? "true" : null },
      el("b", {}, campaign.name), badge(campaign),
      course ? bar({ ...course, pending: all - course.done - course.running - course.failed }, `${course.done} of ${all} jobs done`) : el("div", { class: "bar" }),
      el("small", {}, course ? `${course.done} of ${count(all, "job")} done` : campaign.file));
  }));
}

/** Draw one part of the page anew if it differs from what is there. */
function redraw(parent, key, data, make) {
  const text = JSON.stringify(data), known = drawn.get(key);
  if (known && known.text === text) return;
  let node;
  try {
    node = make() || document.createComment(key);
  } catch (error) {
    console.error(error);
    node = section(key, key, el("p", { class: "why" }, "What was read of this cannot be drawn."));
  }
  if (known) patch(known.node, node);
  else parent.append(node);
  drawn.set(key, { text, node: known && known.node.isConnected ? known.node : node });
}

function draw() {
  const main = document.getElementById("main"), noscript = main.querySelector("noscript");
  if (noscript) noscript.remove();
  const chosen = Math.min(Math.max(1, Number.parseInt(location.hash.slice(1), 10) || 1), state.campaigns.length) - 1;
  const campaign = state.campaigns[chosen];
  document.title = `${WORDS[stateOf(campaign)]}: ${campaign.name}`;
  patch(document.getElementById("head"), el("div", { id: "head" }, el("h1", {}, campaign.name, " ", badge(campaign)),
    el("p", {}, `A campaign of bunchtrain, run in ${state.folder}`),
    el("p", { class: "fresh", role: "status" }, LIVE
      ? (lost ? [el("i", { class: "lamp off" }), `not reached since ${when(lost)}: what is shown is of then`] : [el("i", { class: "lamp" }), "live"])
      : `as it was on ${when(state.made)}`)));
  redraw(main, "choice", [chosen, state.campaigns.map((one) => [one.name, one.course])], () => choice(chosen));
  for (const [name, [part, make]] of Object.entries(SECTIONS)) {
    redraw(main, name, [chosen, part(campaign)], () => (part(campaign) ? make(campaign) : null));
  }
  patch(document.getElementById("foot"), el("footer", { id: "foot" }, `bunchtrain ${state.version}`));
  tick();
}

/** Count the times on. */
function tick() {
  for (const node of document.querySelectorAll("[data-since]")) {
    const text = span(now() - Number(node.dataset.since));
    if (node.textContent !== text) node.textContent = text;
  }
}

/** Ask for the state; go on with the old one where there is no answer. */
async function ask() {
  try {
    const answer = await fetch(ASKED, { cache: "no-store", signal: AbortSignal.timeout(20000) });
    if (!answer.ok) throw new Error(answer.status);
    state = await answer.json();
    [ahead, lost] = [state.made - Date.now() / 1000, null];
  } catch {
    lost = lost || Date.now() / 1000;
  }
  if (state) draw();
  else document.getElementById("main").replaceChildren(el("section", {}, "The server of this page does not answer."));
  setTimeout(ask, PAUSE);
}

addEventListener("hashchange", () => { if (state) draw(); });
if (LIVE) {
  if (location.search) history.replaceState(null, "", location.pathname + location.hash);
  ask();
  setInterval(() => { if (state && !lost) tick(); }, 1000);
} else {
  state = JSON.parse(document.getElementById("state").textContent);
  draw();
}
