"use strict";
// The reader's verdicts by the key of an image, with the way back, and their CSV.

const VERDICT_COLUMNS = ["path", "label", "verdict", "name", "key", "probability", "time"];

class Verdicts {
  // `found` are the verdicts that stand, [{ key, verdict, time }]. `keep(changes)` stores [{ image, verdict, time }] for
  // good; a verdict of null withdraws, and `seen` is the one that stood here before. It may fail; `kept` of its error
  // then says how many were stored before.
  constructor(found, keep) {
    this.keep = keep;
    this.done = [];
    this.renew(found);
  }

  // Takes what stands now from elsewhere: another window, another reader.
  renew(found) {
    this.byKey = new Map(found.map(({ key, verdict, time }) => [key, { verdict, time }]));
  }

  of(image) {
    return this.byKey.get(image.key)?.verdict ?? null;
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
    for (const { image, verdict, time } of changes) this.#set(image.key, verdict && { verdict, time });
    try {
      await this.keep(changes.map((change, place) => ({ ...change, seen: before[place][1]?.verdict ?? null })));
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

  // A line a judged image, in the order given.
  toCsv(images) {
    const lines = images.flatMap((image) => {
      const given = this.byKey.get(image.key);
      if (!given) return [];
      const probability = image.probability === null ? "" : Number(image.probability.toPrecision(6));
      const label = VERDICTS[given.verdict].csv;
      return [[nameCell(image.path), label, given.verdict, nameCell(image.name), image.key, probability, given.time]];
    });
    return toCsv([VERDICT_COLUMNS, ...lines]);
  }

  // The changes that a CSV of verdicts asks for on some images, and how many of its lines are not taken and why.
  fromCsv(text, images) {
    const byKey = new Map(images.map((image) => [image.key, image]));
    const byName = new Map(images.map((image) => [nameCell(image.name), image]));
    const changes = new Map();
    const left = { unknown: 0, older: 0, same: 0 };
    for (const line of fromCsv(text)) {
      const verdict = verdictIn(line);
      const image = line.key ? byKey.get(line.key) : byName.get(nameCell(line.name));
      const given = image && this.byKey.get(image.key);
      if (!image) left.unknown += 1;
      else if (given?.verdict === verdict) left.same += 1;
      else if (given && line.time && line.time < given.time) left.older += 1;
      else changes.set(image.key, { image, verdict, time: line.time || now() });
    }
    return { changes: [...changes.values()], left };
  }
}

function verdictIn(line) {
  if (Object.hasOwn(VERDICTS, line.verdict ?? "")) return line.verdict;
  const found = Object.keys(VERDICTS).find((verdict) => !line.verdict && VERDICTS[verdict].csv === line.label);
  if (!found) throw new Error('each line needs a "verdict" of accept or retake, or a "label" of normal or affected');
  return found;
}

// A spreadsheet would take such a name for a formula; "./" before it makes no other path of it.
function nameCell(name) {
  return FORMULA.test(name ?? "") ? `./${name}` : name;
}

const now = () => new Date().toISOString();
