"use strict";
// What is said beside the radiograph: decision, probability on a scale with the thresholds, reason and facts.

function badge(state, text = STATES[state].label) {
  return make("span", { class: `badge ${state}` }, text);
}

function doubtMark(image) {
  return make("span", { class: "mark", title: image.doubts.join("\n") }, "doubt");
}

function remarkList(kind, title, remarks) {
  const lines = remarks.map((remark) => make("li", {}, remark));
  return lines.length ? [make("div", { class: kind }, make("h3", {}, title), make("ul", {}, ...lines))] : [];
}

// The probability on a bar from 0 to 1, coloured by what the thresholds make of each part.
function probabilityBar(probability, { threshold, review_threshold: review }) {
  const parts = review === null
    ? [[0, threshold, "normal"], [threshold, 1, "affected"]]
    : [[0, review, "pass"], [review, threshold, "review"], [threshold, 1, "retake"]];
  const bar = draw("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const [from, to, state] of parts) {
    bar.append(draw("rect", { class: state, x: 100 * from, width: 100 * Math.max(to - from, 0), y: 3, height: 4 }));
  }
  for (const [from] of parts.slice(1)) bar.append(draw("rect", { class: "threshold", x: 100 * from - 0.4, width: 0.8, y: 1, height: 8 }));
  if (probability !== null) bar.append(draw("rect", { class: "needle", x: 98.5 * probability, width: 1.5, y: 0, height: 10 }));
  return bar;
}

// "review from 0.300, retake from 0.600".
function thresholdWords({ threshold, review_threshold: review }) {
  const marks = [["retake from", threshold], ...(review === null ? [] : [["review from", review]])];
  return marks.map(([word, value]) => `${word} ${probabilityText(value)}`).reverse().join(", ");
}

function probabilityScale(probability, thresholds) {
  const words = thresholdWords(thresholds);
  const scale = make("div", { class: "scale", role: "img", "aria-label": `Probability ${probabilityText(probability)}; ${words}` });
  scale.append(probabilityBar(probability, thresholds));
  scale.append(make("div", { class: "ends" }, make("span", {}, "0"), make("span", {}, "1")));
  scale.append(make("p", { class: "quiet" }, words));
  return scale;
}

function showResult(image, thresholds) {
  const state = stateOf(image);
  const parts = [make("h2", {}, image.name), make("p", { class: `decision ${state}` }, STATES[state].title)];
  if (image.probability !== null) {
    parts.push(
      make("p", { class: "probability" }, make("strong", {}, probabilityText(image.probability)), " probability of a foreign object"),
      probabilityScale(image.probability, thresholds),
    );
  }
  parts.push(make("p", { class: "reason" }, image.reason));
  const remarks = image.remarks ?? [];
  const isDoubt = (remark) => image.doubts.includes(remark);
  const isRefusal = (remark) => (image.refusals ?? []).includes(remark); // they are the reason
  parts.push(...remarkList("remarks", "Doubts about the picture", remarks.filter(isDoubt)));
  parts.push(...remarkList("remarks noted", "Notes on the file", remarks.filter((remark) => !isDoubt(remark) && !isRefusal(remark))));
  byId("result").replaceChildren(...parts);
}

// What other readers say of the image, and in which colour they have drawn on it.
function showOthers(others, reasons, isConflict, readers) {
  byId("others").hidden = !others.length;
  byId("others-title").textContent = isConflict ? "Readers contradict each other" : "Other readers";
  byId("others").classList.toggle("conflict", isConflict);
  byId("others-list").replaceChildren(
    ...others.map(({ reader, verdict, reason, comment, marks }) => {
      const why = reason ? ` (${reasonTitle(reasons, reason)})` : "";
      const drawn = marks?.length ? [make("span", { class: `swatch ${lookOf(reader, readers)}`, "aria-hidden": "true" }), `${counted(marks.length, "object")} drawn`] : [];
      return make("li", {}, make("strong", {}, reader || "unnamed"), `: ${VERDICTS[verdict].label}${why}`, ...(comment ? [": ", make("bdi", {}, comment)] : []), ...(drawn.length ? ["; ", ...drawn] : []));
    }),
  );
}

// As RecordedResize says it in Python: "centres bicubic, mirrored".
function resizeText({ grid, interpolation, flip }) {
  return [[grid, interpolation].filter(Boolean).join(" "), flip && "mirrored"].filter(Boolean).join(", ");
}

// [name, value] of all that is known of an image beside its result.
function factsOf(image) {
  return [
    ["File", image.origin],
    ["Size", image.width ? `${image.width} × ${image.height} px` : ""],
    ["Map", image.method ? [image.method, image.layers, resizeText(image), image.by && `by ${image.by}`].filter(Boolean).join(", ") : image.status === "ok" && "none was made"],
    ["Peak", image.peak ? `row ${image.peak[0]}, column ${image.peak[1]}` : image.flat ? "none: the map is flat" : ""],
    ["SHA-256", image.key && `${image.key.slice(0, 16)}…`],
    ...Object.entries(image.tags ?? {}),
  ].filter(([, value]) => value);
}

function showFacts(image) {
  byId("facts").replaceChildren(...definitions(factsOf(image)));
}

function definitions(facts) {
  return facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
}
