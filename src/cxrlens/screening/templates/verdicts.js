"use strict";
// The reader's verdicts by the key of an image, with the way back, and their CSV.

const VERDICT_COLUMNS = ["path", "label", "verdict", "name", "key", "probability", "time", "reader", "reason", "comment", "marks"];

class Verdicts {
  // `found` are the verdicts that stand, [{ key, verdict, time, reader, reason, comment, marks }]; those that `isOwn(given)`
  // says are the reader's own, the others are of others. `keep(changes)` stores [{ image, verdict, time, reader, reason,
  // comment, marks }] for good; a verdict of null withdraws, and `seen`, with `seenGrounds`, is the one that stood here before.
  // It may take long, while what was given is shown as such. It may fail; `kept` of its error then says how many were stored
  // before. With `isBlind`, what others say is known of images alone on which a verdict of the reader stands.
  constructor(found, keep, isOwn = () => true, isBlind = false) {
    Object.assign(this, { keep, isOwn, isBlind });
    this.done = [];
    this.renew(found);
  }

  // Takes what stands now from elsewhere: another window, another reader.
  renew(found) {
    this.byKey = new Map();
    this.others = new Map();
    for (const given of found) {
      if (this.isOwn(given)) this.#set(given.key, { verdict: given.verdict, time: given.time, reader: given.reader ?? "", ...groundsOf(given) });
      else this.others.set(given.key, [...(this.others.get(given.key) ?? []), given]);
    }
    this.readers = [...new Set([...this.others.values()].flat().map(({ reader }) => reader ?? ""))].sort();
  }

  of(image) {
    return this.byKey.get(image.key)?.verdict ?? null;
  }

  // The verdict with all that was given along; undefined where there is none.
  given(image) {
    return this.byKey.get(image.key);
  }

  // The verdicts of other readers on an image.
  othersOf({ key }) {
    return this.isBlind && !this.byKey.has(key) ? [] : (this.others.get(key) ?? []);
  }

  // Whether as many readers say the one as the other of an image; the same rule as that of labels (screening/labels.py).
  isConflict(image) {
    const all = [...this.othersOf(image).map(({ verdict }) => verdict), this.of(image)].filter(Boolean);
    return all.length > 0 && 2 * all.filter((verdict) => verdict === "retake").length === all.length;
  }

  // Gives several verdicts as one step.
  async give(changes) {
    const step = changes.map(({ image }) => ({ image, ...(this.byKey.get(image.key) ?? { verdict: null, time: "" }) }));
    this.done.push(step);
    try {
      await this.#apply(changes);
    } catch (error) {
      const kept = step.slice(0, error.kept ?? 0);
      this.done = this.done.flatMap((other) => (other !== step ? [other] : kept.length ? [kept] : []));
      throw error;
    }
  }

  // Takes back the last step that stands, and returns its images.
  async undo() {
    const step = this.done.pop();
    if (!step) return [];
    try {
      await this.#apply(step);
    } catch (error) {
      this.done.push(step.slice(error.kept ?? 0));
      throw error;
    }
    return step.map(({ image }) => image);
  }

  // What is shown changes at once; it changes back where it could not be stored.
  async #apply(changes) {
    const before = changes.map(({ image }) => [image.key, this.byKey.get(image.key)]);
    for (const { image, verdict, time, reader, ...rest } of changes) this.#set(image.key, verdict && { verdict, time, reader: reader ?? "", ...groundsOf(rest) });
    try {
      await this.keep(changes.map((change, place) => {
        const [, stood] = before[place];
        return { ...change, seen: stood?.verdict ?? null, seenGrounds: groundsOf(stood) };
      }));
    } catch (error) {
      for (const [key, value] of before.slice(error.kept ?? 0)) this.#set(key, value);
      throw error;
    }
  }

  #set(key, value) {
    if (value) this.byKey.set(key, value);
    else this.byKey.delete(key);
  }

  counts(images) {
    const counts = { accept: 0, retake: 0 };
    for (const image of images) {
      const verdict = this.of(image);
      if (verdict) counts[verdict] += 1;
    }
    return counts;
  }

  // A line a judged image, in the order given; the label of a retake is that of its reason.
  toCsv(images, reasons) {
    const lines = images.flatMap((image) => {
      const given = this.byKey.get(image.key);
      if (!given) return [];
      const probability = image.probability === null ? "" : Number(image.probability.toPrecision(6));
      const { reason, comment, marks } = groundsOf(given);
      const isOpen = given.verdict === "retake" && reason !== "" && !reasons.find(({ id }) => id === reason)?.affected;
      const label = isOpen ? "" : VERDICTS[given.verdict].csv;
      const file = [nameCell(image.path), label, given.verdict, nameCell(image.name), image.key, probability, given.time];
      return [[...file, given.reader ?? "", reason, comment, marksText(marks)]];
    });
    return toCsv([VERDICT_COLUMNS, ...lines]);
  }

  // The changes that a CSV of verdicts asks for on some images, and how many of its lines are not taken and why;
  // `doubts` says of each line that fits several images, or shares one with other lines, what it could mean. `reasons` are
  // those that there are, and `mayBeOf(reader)` says whether a line of that reader is taken. Of several lines on one image
  // the last one given counts.
  fromCsv(text, images, reasons, mayBeOf = () => true) {
    const lines = fromCsv(text);
    const taken = lines.filter((line) => mayBeOf(line.reader ?? ""));
    const { found, doubts, unknown } = imagesOf(taken, images);
    const changes = new Map();
    const left = { unknown, older: 0, earlier: 0, same: 0, others: lines.length - taken.length };
    for (const { line, image } of found) {
      const verdict = verdictIn(line);
      const grounds = groundsIn(line, verdict);
      const reader = line.reader ?? "";
      const other = changes.get(image.key); // of another line
      const before = other ?? this.byKey.get(image.key);
      if (grounds.reason && !reasons.some(({ id }) => id === grounds.reason)) doubts.push(`the reason ${grounds.reason} of ${image.name} is not known here`);
      else if (before?.verdict === verdict && isSame(groundsOf(before), grounds)) left.same += other?.reader === reader ? 0 : 1; // copies of a file have a line each
      else if (before && line.time && line.time < before.time) left.older += 1;
      else {
        if (other) left.earlier += 1;
        changes.set(image.key, { image, verdict, time: line.time || now(), reader, ...grounds });
      }
    }
    return { changes: [...changes.values()], left, doubts };
  }
}

// The image of each line: by its content where the line has a key, else by its name, see `ImageNames`. A line that means
// an image more strictly than another one has it; of two that mean it equally loosely neither has.
function imagesOf(lines, images) {
  const byKey = new Map(images.map((image) => [image.key, image]));
  const names = new ImageNames(images);
  const claims = new Map();
  const doubts = [];
  let unknown = 0;
  for (const line of lines) {
    verdictIn(line);
    const { fitting, form } = line.key ? { fitting: [byKey.get(line.key)].filter(Boolean), form: 0 } : names.find(line.name ?? "");
    if (!fitting.length) unknown += 1;
    else if (fitting.length > 1) doubts.push(`${line.name} could mean ${fitting.slice(0, 3).map(({ name }) => name).join(" or ")}`);
    else claims.set(fitting[0].key, [...(claims.get(fitting[0].key) ?? []), { line, image: fitting[0], form }]);
  }
  const found = [];
  for (const claimed of claims.values()) {
    const strictest = Math.min(...claimed.map(({ form }) => form));
    const best = claimed.filter(({ form }) => form === strictest);
    unknown += claimed.length - best.length;
    if (best.length === 1 || strictest < FIRST_LOOSE_FORM) found.push(...best);
    else doubts.push(...best.map(({ line, image }) => `${line.name} is one of ${best.length} lines that could mean ${image.name}`));
  }
  return { found, doubts, unknown };
}

// How the parts of a name are compared, the strictest first: the same rule as that of tables and files on the command
// line (inputs/matching.py), but for endings, which count here.
const FORMS = [
  (part) => part,
  (part) => part.trim(),
  (part) => part.trim().normalize("NFC"), // accents apart from their letters, as macOS stores them
  (part) => part.trim().normalize("NFD").toUpperCase().toLowerCase().normalize("NFC"),
];
const FIRST_LOOSE_FORM = 2;

// Images by what a table calls them: by the whole name, else by its end, as long as it is the end of one image's name.
class ImageNames {
  constructor(images) {
    this.images = images;
    this.indexes = [];
  }

  // The images that a name means, by the strictest form that finds any; several are a doubt.
  find(name) {
    for (const form of FORMS.keys()) {
      const { whole, ends } = this.#index(form);
      const wanted = joinedParts(nameParts(name, form));
      const fitting = whole.get(wanted) ?? ends.get(wanted);
      if (fitting) return { fitting: [...fitting.values()], form };
    }
    return { fitting: [], form: FORMS.length };
  }

  #index(form) {
    return (this.indexes[form] ??= this.#made(form));
  }

  #made(form) {
    const whole = new Map();
    const ends = new Map();
    const put = (index, parts, image) => {
      const joined = joinedParts(parts);
      if (!index.has(joined)) index.set(joined, new Map());
      index.get(joined).set(image.key, image); // copies of one file are one image
    };
    for (const image of this.images) {
      const parts = nameParts(image.name, form);
      put(whole, parts, image);
      for (let start = 1; start < parts.length; start += 1) put(ends, parts.slice(start), image);
    }
    return { whole, ends };
  }
}

// The parts of a path; both slashes part them, and "./", "//" and "x/.." say nothing.
function nameParts(name, form) {
  const text = FORMS[Math.min(form, 1)](name.replaceAll("\\", "/"));
  const parts = text.startsWith("/") ? ["/"] : [];
  for (const each of text.split("/")) {
    const part = FORMS[form](each);
    if (part === ".." && parts.length && !["..", "/"].includes(parts.at(-1))) parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return parts;
}

const joinedParts = (parts) => parts.join("\0");

function verdictIn(line) {
  if (Object.hasOwn(VERDICTS, line.verdict ?? "")) return line.verdict;
  const found = Object.keys(VERDICTS).find((verdict) => !line.verdict && VERDICTS[verdict].csv === line.label);
  if (!found) throw new Error('each line needs a "verdict" of accept or retake, or a "label" of normal or affected');
  return found;
}

// Without the apostrophe that keeps a spreadsheet from taking a comment for a formula.
function groundsIn(line, verdict) {
  const comment = (line.comment ?? "").replace(/^'(?=['\s]*[=+\-@＝＋－＠])/, "");
  return { reason: verdict === "retake" ? (line.reason ?? "") : "", comment, marks: marksIn(line.marks ?? "") };
}

function isSame(left, right) {
  return JSON.stringify(left) === JSON.stringify(right);
}

// A spreadsheet would take such a name for a formula; "./" before it makes no other path of it.
function nameCell(name) {
  return FORMULA.test(name ?? "") ? `./${name}` : name;
}

const now = () => new Date().toISOString();
