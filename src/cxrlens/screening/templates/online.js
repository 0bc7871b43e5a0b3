"use strict";
// The backend of the served page: everything comes from the HTTP API of the server, and verdicts go there.

const ABOUT_THE_MAP = ["map", "method", "layers", "grid", "interpolation", "flip", "flat", "peak", "contours"];
const PART = 1000; // images of the worklist, or entries of the log, in one answer
const LONGEST_LOOK = 10_000; // ms for an answer that is asked for again anyway
const NO_FOLDER = { reader: "", blind: false, reasons: [], longest_comment: 0, most_marks: 0 };

class OnlineBackend {
  static async open() {
    const [model, methods, facts] = await Promise.all([answerOf("api/model"), answerOf("api/methods"), reviewFacts()]);
    if (!facts) return new OnlineBackend(model, methods, NO_FOLDER, null, { entry: 0, result: 0 }, []);
    const last = await answerOf("api/news"); // first: what comes while the rest is asked for is news
    const [worklist, found] = await Promise.all([wholeWorklist(), standing()]);
    return new OnlineBackend(model, methods, facts, worklist, last, found);
  }

  // `last` are the ids of what `worklist` and `found` surely have.
  constructor(model, methods, facts, worklist, last, found) {
    Object.assign(this, { model, methods, facts, worklist, last, standing: found });
    this.reader = facts.reader;
    this.images = worklist?.images ?? [];
    this.pending = 0;
    this.maps = new WeakMap(); // images with other maps than they were screened with
    this.#noteKeys();
    this.thresholds = worklist ? [worklist, model] : [model];
    this.storage = worklist ? "Verdicts are kept by the server, with every change in its audit log." : "";
    this.nothing = "Drop a radiograph anywhere on this page, or choose a file: DICOM, JPEG, PNG or TIFF. Nothing of it is kept.";
    this.queue = Promise.resolve();
    const parts = [worklist?.folder ?? "", worklist?.created ?? "", this.reader].filter(Boolean); // folders may share a name
    this.outbox = new Outbox(["cxrlens-waiting", ...parts].join("-"), (text, kind) => window.review.tell(text, kind));
    this.rest = this.outbox.waiting; // from when the page was open before
    this.found = withWaiting(found, this.rest, this.reader);
  }

  isOwn(given) {
    return (given.reader ?? "") === this.reader;
  }

  // Whether a line of a CSV may be given here, where all that is given is the reader's, whose name the token says.
  mayImport(reader) {
    return !reader || reader === this.reader;
  }

  get notImported() {
    if (this.reader) return ["line is of another reader", "lines are of other readers"];
    const why = "whom this server does not know: serve with --readers, or empty that column to take what it says without a name";
    return [`line names a reader, ${why}`, `lines name a reader, ${why}`];
  }

  // Sends what waited while the page was closed; fails where the server refuses any of it.
  async resume() {
    await Promise.all(this.rest.map((entry) => this.#send([entry])));
  }

  // One after the other, so that a second thought cannot arrive before the first.
  keep(changes) {
    const verdicts = changes.map(({ image, verdict, seen, seenGrounds, ...rest }) => {
      const { reader } = this;
      return { key: image.key, reader, verdict: verdict ?? "none", seen: seen ?? "none", seen_grounds: seenGrounds, ...groundsOf(verdict ? rest : null) };
    });
    return this.#send(this.outbox.add(verdicts));
  }

  #send(entries) {
    this.pending += 1;
    const kept = this.queue.then(() => this.#post(entries));
    this.queue = kept.catch(() => {}).finally(() => (this.pending -= 1));
    return kept;
  }

  // The list with what has been screened since, where `images` are asked for, and the verdicts that stand; null where
  // nothing has come, or verdicts are on their way. Images whose record has not changed stay the same objects.
  async news({ images = true, always = false } = {}) {
    if (!this.worklist || this.pending) return null;
    const { entry, result, reader } = await answerOf("api/news", { signal: AbortSignal.timeout(LONGEST_LOOK) });
    if (reader !== this.reader) throw Object.assign(new Error(this.#taken(reader)), { isTaken: true });
    const grown = images && result !== this.last.result;
    if (!grown && !always && entry === this.last.entry) return null;
    const [worklist, found] = await Promise.all([grown ? wholeWorklist() : this.worklist, this.#standingAfter(entry)]);
    if (this.pending) return null;
    this.standing = found;
    this.last = { entry, result: grown ? result : this.last.result };
    if (!grown) return { images: this.images, found };
    return { images: this.#joined(worklist), found };
  }

  // Why the page shows nothing new any more: another reader has opened it in this browser since.
  #taken(other) {
    return `This page was opened by ${this.reader || "a reader without a name"}, and this browser has the token of ${other || "a reader without a name"} now: load it again, or open it with your own token.`;
  }

  // The same once all verdicts have arrived, also where nothing has come.
  async afresh() {
    await this.queue;
    return this.news({ always: true });
  }

  // The verdicts that stand by now: those of before with what the log has got since. What a blind reader may see of it also
  // depends on their own verdicts.
  async #standingAfter(entry) {
    if (entry === this.last.entry) return this.standing;
    if (this.facts.blind) return standing();
    const found = new Map(this.standing.map((given) => [JSON.stringify([given.key, given.reader]), given]));
    for (let after = this.last.entry; ; ) {
      const { entries } = await answerOf(`api/audit?after=${after}&limit=${PART}`);
      for (const given of entries) {
        const place = JSON.stringify([given.key, given.reader]);
        found.delete(place);
        if (given.verdict !== "none") found.set(place, given);
      }
      if (entries.length < PART) return [...found.values()];
      after = entries.at(-1).id;
    }
  }

  #joined(worklist) {
    const known = new Map(this.worklist.images.map((image) => [sameness(image), image]));
    const images = worklist.images.map((image) => known.get(sameness(image)) ?? image);
    this.worklist = { ...worklist, images };
    this.#noteKeys();
    const checked = this.images.filter(({ file }) => file);
    const shown = new Set(checked.filter(isRead).map((image) => sameFile(image, images)));
    return [...checked, ...images.filter((image) => !shown.has(image))];
  }

  #noteKeys() {
    this.keys = new Set((this.worklist?.images ?? []).filter(isRead).map((image) => image.key));
  }

  async #post(entries) {
    for (const [kept, entry] of entries.entries()) {
      try {
        await this.outbox.deliver(entry);
      } catch (error) {
        this.outbox.remove(entries);
        throw Object.assign(error, { kept });
      }
    }
  }

  // What the model says of a file, as an image of the list.
  async check(file, method, layers) {
    const limit = this.model.max_upload;
    if (limit && file.size > limit) throw refusal(`The file is larger than the ${Math.floor(limit / 1e6)} MB that this server takes.`);
    const form = new FormData();
    form.append("file", await readable(file), file.name);
    form.append("method", method);
    if (layers) form.append("layers", layers);
    const checked = await answerOf("api/check", { method: "POST", body: form });
    return { ...checked, name: file.name, status: "ok", note: CHECKED, file };
  }

  // Asks for another map of an image of the worklist, which stays as it was screened.
  async explain(image, method, layers) {
    const form = new FormData();
    form.append("method", method);
    if (layers) form.append("layers", layers);
    const checked = await answerOf(`api/worklist/${image.key}/check`, { method: "POST", body: form });
    const found = Object.fromEntries(ABOUT_THE_MAP.map((field) => [field, checked[field]]));
    this.maps.set(image, { ...image, ...found, by: this.worklist.same_model ? "" : this.model.name });
  }

  explained(image) {
    return this.maps.get(image);
  }

  async fullPicture(image, signal) {
    if (!image.file) return (await ask(`api/worklist/${image.key}/pixels`, { signal })).arrayBuffer();
    const form = new FormData();
    form.append("file", image.file, "file");
    return (await ask("api/pixels", { method: "POST", body: form, signal })).arrayBuffer();
  }

  async csv() {
    if (this.outbox.late) throw new Error("Some verdicts still wait for the server; export them when all have arrived.");
    await this.queue;
    return (await ask("api/verdicts.csv")).text();
  }

  thresholdsOf(image) {
    return image.file ? this.model : this.worklist;
  }

  noVerdict(image) {
    if (!isRead(image)) return NO_VERDICT_UNREAD;
    return this.keys.has(image.key) ? "" : "Verdicts are given on images of a screened folder; of this file nothing is kept.";
  }

  get origin() {
    const { worklist, model } = this;
    return worklist ? { folder: worklist.folder, model: worklist.model, screened: worklist.created } : { folder: "", model: model.name, screened: "" };
  }

  hasPicture(image) {
    return Boolean(image.picture);
  }

  thumbnail(image) {
    return image.picture || null;
  }

  picture(image) {
    return image.picture || null;
  }

  map(image) {
    return image.map || null;
  }

  noPicture(image) {
    return image.status === "ok" ? "There is no picture of this image." : "This file could not be read.";
  }
}

async function standing() {
  return (await answerOf("api/verdicts")).verdicts;
}

// The verdicts that stand, with those of the reader that are on their way.
function withWaiting(found, waiting, reader) {
  const isOwn = (given) => given.reader === reader;
  const byKey = new Map(found.filter(isOwn).map((given) => [given.key, given]));
  for (const { key, verdict, ...rest } of waiting) {
    if (verdict === "none") byKey.delete(key);
    else byKey.set(key, { key, verdict, time: "", reader, ...groundsOf(rest) });
  }
  return [...byKey.values(), ...found.filter((given) => !isOwn(given))];
}

// The image of the worklist that a checked one stands for, whose name it takes; undefined where there is none.
function sameFile(checked, images) {
  const same = images.filter(({ key }) => key === checked.key);
  const found = same.find(({ name }) => name === checked.name) ?? same[0];
  if (found) checked.name = found.name;
  return found;
}

// What tells a record from another one: all of it but the verdicts.
function sameness(image) {
  return JSON.stringify({ ...image, verdict: "", conflict: false });
}

const CHECKED = "checked now";

// How the screened folder is reviewed; null where the server has none.
async function reviewFacts() {
  try {
    return await answerOf("api/review");
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

// The whole worklist, which may grow while it is read.
async function wholeWorklist() {
  const byName = new Map();
  for (let offset = 0; ; offset += PART) {
    const part = await answerOf(`api/worklist?limit=${PART}&offset=${offset}`);
    for (const image of part.images) byName.set(image.name, image);
    if (offset + part.images.length >= part.shown || !part.images.length) return { ...part, images: [...byName.values()] };
  }
}

// The file itself; a folder, or a file that is gone, cannot be sent.
async function readable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return file;
  } catch {
    throw refusal("It is no file that can be read.");
  }
}

// An error that is about the file, as the server's own refusals are.
function refusal(words) {
  return Object.assign(new Error(words), { status: 415 });
}
