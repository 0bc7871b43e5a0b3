"use strict";
// What is known of an image, in words and in order.

const STATES = {
  pass: { label: "pass", title: "Pass", rank: 0 },
  normal: { label: "normal", title: "Normal", rank: 0 },
  review: { label: "review", title: "To be reviewed", rank: 1 },
  retake: { label: "retake", title: "Suggested retake", rank: 2 },
  affected: { label: "affected", title: "Affected: suggested retake", rank: 2 },
  not_assessable: { label: "not assessable", title: "Not assessable", rank: 3 },
  unreadable: { label: "unreadable", title: "Unreadable", rank: 4 },
};

// The decisions that thresholds lead to, the one that is looked for first.
function statesWith({ review_threshold: review }) {
  return review === null ? ["affected", "normal"] : ["retake", "review", "pass"];
}

const VERDICTS = {
  accept: { label: "accepted", title: "Accepted", csv: "normal", rank: 1 },
  retake: { label: "retake", title: "Retake", csv: "affected", rank: 2 },
};

function stateOf(image) {
  return image.status === "ok" ? (image.triage ?? image.decision ?? "unreadable") : "unreadable";
}

const NO_VERDICT_UNREAD = "A file that could not be read can have no verdict.";

function isRead(image) {
  return image.status === "ok" && image.key !== "";
}

// Whether the picture looks wrong, or may not be displayed as it was meant; a mere note does not say so.
function isRemarked(image) {
  return (image.doubts ?? []).length > 0;
}

// The small line below a name: the folder, or what kind of file it is.
function placeOf(image) {
  return image.note ?? (folderOf(image) || image.origin);
}

function folderOf({ name }) {
  return name.slice(0, name.lastIndexOf("/") + 1);
}

function probabilityText(probability) {
  if (probability === null) return "–";
  if (probability > 0 && probability < 0.001) return "<0.001";
  if (probability < 1 && probability > 0.999) return ">0.999";
  return probability.toFixed(3);
}
