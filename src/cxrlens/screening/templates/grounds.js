"use strict";
// Why a verdict is given: the reason for a retake, which a key chooses; a comment; and what is drawn on the radiograph.

const REASON_KEYS = "1234567890abcdefghijklmnopqstuvwxyz"; // without the one that asks for a retake
const MOST_POINTS = 120; // of an outline
const FIELDS = { comment: "the comment", marks: "the drawn objects" }; // of a draft

// What a verdict may have beside itself; those of earlier versions have none.
function groundsOf(given) {
  return { reason: given?.reason ?? "", comment: given?.comment ?? "", marks: given?.marks ?? [] };
}

function reasonTitle(reasons, id) {
  return reasons.find((reason) => reason.id === id)?.title ?? id;
}

class GroundsForm {
  // `facts` are { reasons, longest_comment, most_marks }; `onReason(id)` is told of a choice, `onChange()` that the
  // comment or a drawn object has changed, `tell(text)` what a reader must know.
  constructor(facts, viewer, { onReason, onChange, tell }) {
    Object.assign(this, { facts, viewer, onReason, onChange, tell });
    this.drafts = new Map(); // what is written and drawn by the key of an image, until a verdict takes it along
    this.image = null;
    this.others = [];
    this.drawing = null;
    byId("reasons").append(...facts.reasons.map((reason, place) => this.#choice(reason, REASON_KEYS[place])));
    this.#wire();
  }

  // The image shown, the verdict on it that stands, whether it can have one, and what others have drawn on it, see
  // `drawingsOf`.
  show(image, given, can, others = []) {
    if (image !== this.image) this.stop();
    Object.assign(this, { image, given, can, others });
    this.#join();
    const { comment, marks } = this.draft();
    if (byId("comment").value !== comment) byId("comment").value = comment;
    byId("comment").disabled = !can;
    byId("grounds").hidden = !can;
    this.#sayWhatWaits(comment);
    byId("reason-given").textContent = given?.verdict === "retake" ? `Reason: ${reasonTitle(this.facts.reasons, given.reason) || "none given"}` : "";
    byId("drawn-count").textContent = marks.length ? counted(marks.length, "object") : "";
    byId("unmark").disabled = !marks.length;
    for (const button of byId("reasons").querySelectorAll("[data-reason]")) {
      button.setAttribute("aria-pressed", given?.verdict === "retake" && button.dataset.reason === given.reason);
    }
    this.paint();
  }

  // Draws the objects of the image shown.
  paint() {
    const meanwhile = this.#open.includes("marks") ? [{ name: "meanwhile", look: "meanwhile", marks: this.given.marks }] : [];
    this.viewer.showMarks(this.image ? this.draft().marks : [], [...this.others, ...meanwhile]);
  }

  // { comment, marks } as they would go along with a verdict on the image shown, and `base`, the same as it stood when the
  // reader began.
  draft() {
    const { comment, marks } = groundsOf(this.given);
    return this.drafts.get(this.image?.key) ?? { comment, marks, base: { comment, marks } };
  }

  keep(image, draft) {
    this.drafts.set(image.key, draft);
  }

  forget(image) {
    this.drafts.delete(image.key);
  }

  // What of the draft has been changed elsewhere as well since the reader began, and to something else.
  get #open() {
    const draft = this.drafts.get(this.image?.key);
    if (!draft || !this.given) return [];
    return Object.keys(FIELDS).filter((field) => {
      const [mine, theirs, base] = [draft, this.given, draft.base].map((each) => each[field]);
      return !isSame(mine, base) && !isSame(theirs, base) && !isSame(mine, theirs);
    });
  }

  // Takes into the draft what has been changed elsewhere alone, and asks about the rest.
  #join() {
    const draft = this.drafts.get(this.image?.key);
    const open = this.#open;
    if (draft && this.given) {
      for (const field of Object.keys(FIELDS).filter((each) => !open.includes(each))) {
        if (isSame(draft[field], draft.base[field])) draft[field] = this.given[field];
        draft.base = { ...draft.base, [field]: this.given[field] };
      }
      if (Object.keys(FIELDS).every((field) => isSame(draft[field], this.given[field]))) this.forget(this.image); // it stands
    }
    byId("changed").hidden = !open.length;
    const { comment, marks } = this.given ?? {};
    const now = { comment: comment ? `the comment to “${comment}”` : "the comment to none", marks: `the drawn objects to ${counted(marks?.length ?? 0, "object")}` };
    byId("changed-text").textContent = open.length ? `Another page has changed ${open.map((field) => now[field]).join(", and ")}. What is to stand?` : "";
  }

  // Ends the question of `#join`: `choose(mine, theirs, field)` gives what is to stand.
  #settle(choose) {
    const draft = this.drafts.get(this.image.key);
    for (const field of this.#open) {
      draft[field] = choose(draft[field], this.given[field], field);
      draft.base = { ...draft.base, [field]: this.given[field] };
    }
    this.onChange();
  }

  // Why the draft cannot be kept, "" where it can.
  fault() {
    const [open] = this.#open;
    if (open) return `${this.image.name}: another page has changed ${FIELDS[open]} meanwhile; choose first what is to stand.`;
    return this.#excess();
  }

  // Why the comment is too long, "" where it is not.
  #excess() {
    const { length } = [...this.draft().comment];
    const most = this.facts.longest_comment;
    return length > most ? `The comment has ${length.toLocaleString("en")} characters, and may have ${most.toLocaleString("en")}: shorten it.` : "";
  }

  // Asks for the reason of a retake; the next key chooses it.
  ask() {
    byId("reasons").hidden = false;
    byId("reasons").scrollIntoView({ block: "nearest" });
    byId("retake").setAttribute("aria-expanded", "true");
  }

  get asks() {
    return !byId("reasons").hidden;
  }

  // Takes a key while a reason is asked for; any but a reason's ends that. True where it is not to do anything else.
  take(key) {
    this.close();
    const place = key === "r" || key === "Enter" ? 0 : REASON_KEYS.indexOf(key);
    const reason = this.facts.reasons[place];
    if (reason) this.onReason(reason.id);
    return Boolean(reason) || key === "Escape";
  }

  close() {
    byId("reasons").hidden = true;
    byId("retake").setAttribute("aria-expanded", "false");
  }

  // Begins to draw, or stops where that kind is being drawn.
  draw(kind) {
    if (!this.can) return;
    const same = this.drawing === kind;
    this.#stopDrawing();
    if (same) return;
    if (this.draft().marks.length >= this.facts.most_marks) {
      this.tell(`An image may have ${this.facts.most_marks} drawn objects; remove one first.`);
      return;
    }
    this.drawing = kind;
    this.viewer.startDrawing(kind);
    byId(`draw-${kind}`).setAttribute("aria-pressed", "true");
  }

  // Ends what had been begun: a choice, a drawing. True where there was any.
  stop() {
    const was = this.asks || this.drawing !== null;
    this.close();
    this.#stopDrawing();
    return was;
  }

  #stopDrawing() {
    if (this.drawing) this.viewer.stopDrawing();
    this.drawing = null;
    for (const kind of ["box", "outline"]) byId(`draw-${kind}`).setAttribute("aria-pressed", "false");
  }

  #drawn({ kind, points }) {
    this.#stopDrawing();
    if (!this.can) return;
    const draft = this.draft();
    this.#change({ ...draft, marks: [...draft.marks, { kind, points: thinned(points).map((point) => this.#within(point)) }] });
  }

  // To tenths of a pixel, on the picture.
  #within([x, y]) {
    const inside = (value, size) => Math.round(10 * Math.min(Math.max(value, -0.5), size - 0.5)) / 10;
    return [inside(x, this.image.width), inside(y, this.image.height)];
  }

  #change(draft) {
    this.drafts.set(this.image.key, draft);
    this.onChange();
  }

  // Says what is wrong with a comment, and that what is written or drawn still waits.
  #sayWhatWaits(comment) {
    const fault = this.#excess();
    const { base, ...said } = this.draft();
    byId("unkept").textContent = isSame(said, base) ? "" : this.given ? "Not kept yet." : "Not kept yet: it goes along with your verdict.";
    byId("comment-note").textContent = fault;
    byId("comment").setAttribute("aria-invalid", fault !== "");
    byId("comment").rows = comment.includes("\n") || comment.length > 60 ? 4 : 2;
  }

  #choice({ id, title }, key) {
    const button = make("button", { type: "button", "data-reason": id, "aria-pressed": "false" }, make("kbd", {}, key), ` ${title}`);
    button.addEventListener("click", () => {
      this.close();
      this.onReason(id);
    });
    return button;
  }

  #wire() {
    byId("comment").addEventListener("input", ({ target }) => {
      this.drafts.set(this.image.key, { ...this.draft(), comment: target.value });
      this.#sayWhatWaits(target.value);
    });
    byId("comment").addEventListener("change", () => this.image && this.onChange());
    addEventListener("beforeunload", (event) => this.drafts.size && event.preventDefault());
    this.viewer.onDrawn = (mark) => this.#drawn(mark);
    this.viewer.onStopped = () => this.#stopDrawing();
    for (const kind of ["box", "outline"]) byId(`draw-${kind}`).addEventListener("click", () => this.draw(kind));
    byId("unmark").addEventListener("click", () => {
      const draft = this.draft();
      this.#change({ ...draft, marks: draft.marks.slice(0, -1) });
    });
    const settle = (id, choose) => byId(id).addEventListener("click", () => this.#settle(choose));
    settle("take-theirs", (mine, theirs) => theirs);
    settle("keep-mine", (mine) => mine);
    settle("keep-both", (mine, theirs, field) => (field === "comment" ? [theirs, mine].filter(Boolean).join("\n") : [...theirs, ...mine.filter((mark) => !theirs.some((other) => isSame(mark, other)))]));
  }
}

// What other readers have drawn, [{ name, look, marks }]: each of `readers` looks alike on all images.
function drawingsOf(others, readers) {
  return others.filter(({ marks }) => marks?.length).map(({ reader, marks }) => ({ name: reader || "unnamed", look: lookOf(reader, readers), marks }));
}

const LOOKS = 6; // in the style sheet

function lookOf(reader, readers) {
  return `reader-${readers.indexOf(reader ?? "") % LOOKS}`;
}

// So few points that a server takes them, and many objects at once.
function thinned(points) {
  const step = Math.ceil(points.length / MOST_POINTS);
  return points.filter((_, place) => place % step === 0);
}

// Drawn objects as Object-CXR has them, and back.
const SHAPES = { 0: "box", 2: "outline" };

function marksText(marks) {
  return marks.map(({ kind, points }) => [Object.keys(SHAPES).find((code) => SHAPES[code] === kind), ...points.flat()].join(" ")).join(";");
}

function marksIn(text) {
  return text.split(";").filter((part) => part.trim()).map((part) => {
    const [code, ...numbers] = part.trim().split(/\s+/).map(Number);
    const points = Array.from({ length: Math.ceil(numbers.length / 2) }, (_, place) => numbers.slice(2 * place, 2 * place + 2));
    if (!Object.hasOwn(SHAPES, code) || !numbers.every(Number.isFinite) || numbers.length % 2) throw new Error(`"${part.trim()}" is no drawn object`);
    return { kind: SHAPES[code], points };
  });
}
