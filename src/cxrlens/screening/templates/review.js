"use strict";
// The page at work: list, radiograph and verdicts together, by mouse and by keys.
//
// A backend is what differs between the file and the server:
//   storage, nothing             what is said of where verdicts are kept; and where no image is selected
//   images, found                the worklist; the verdicts that stand, see `Verdicts`
//   thresholds                   those of which images have been decided with, { threshold, review_threshold } each
//   thresholdsOf(image)          those of one image
//   facts                        { reasons, longest_comment, most_marks, blind }: what can be said beside a verdict, and
//                                whether what others say is hidden until then
//   reader, isOwn(given)         the reader's name, "" where it is not known; whether a verdict is theirs
//   keep(changes)                stores verdicts; fails with a sentence
//   mayImport(reader)            whether lines of a CSV of verdicts are taken that are this reader's; `notImported` are the
//                                words for one, and for several, that are not; optional
//   csv(verdicts)                the CSV of all verdicts
//   noVerdict(image)             why an image can have no verdict, "" where it can
//   thumbnail(image), picture(image), map(image)   addresses or promises of them, null where there is none
//   hasPicture(image)            whether there is one
//   origin                       { folder, model, screened }: where the worklist comes from, "" what is not known
//   noPicture(image)             why there is none
//   explained(image)             the image with the map that was asked for since, undefined where there is none; optional
//   fullPicture(image, signal)   the bytes of its picture at full depth, see `Picture.parsed`; fails with a sentence; optional
//   afresh()                     { images, found } as they are now; asked where `keep` fails with the status CONFLICT

const CONFLICT = 409;

class Review {
  constructor(backend) {
    this.backend = backend;
    this.verdicts = new Verdicts(backend.found, (changes) => backend.keep(changes), (given) => backend.isOwn(given), backend.facts.blind);
    this.viewer = new Viewer();
    this.grounds = new GroundsForm(backend.facts, this.viewer, {
      onReason: (reason) => this.#give("retake", reason),
      onChange: () => this.#amend(),
      tell: (text) => this.tell(text, "error"),
    });
    this.viewing = new Viewing(this.viewer, backend);
    this.list = new Worklist(backend.images, {
      verdictOf: (image) => this.verdicts.of(image),
      isConflict: (image) => this.verdicts.isConflict(image),
      thumbnail: (image) => backend.thumbnail(image),
      thresholdsOf: (image) => backend.thresholdsOf(image),
      onSelect: (image) => this.show(image),
    });
    this.filters = new Filters(this.list, backend.thresholds, (image) => this.verdicts.isConflict(image));
    this.#wire();
    byId("storage").textContent = backend.storage;
    this.refresh();
    const [first] = this.list.images;
    if (first) this.list.select(first);
    else this.clear();
    byId("grid").focus({ preventScroll: true });
  }

  clear() {
    this.current = null;
    this.viewer.say(this.backend.nothing);
    byId("result").replaceChildren();
    byId("facts").replaceChildren();
    this.refresh();
  }

  async show(image) {
    this.current = image;
    showResult(image, this.backend.thresholdsOf(image));
    const explained = this.backend.explained?.(image) ?? image; // with another map than it was screened with
    showFacts(explained);
    this.refreshVerdict();
    try {
      const [picture, map] = await Promise.all([loaded(this.backend.picture(image)), loaded(this.backend.map(explained))]);
      if (this.current !== image) return; // another one was chosen meanwhile
      if (picture) this.viewer.show(image, picture, map, explained);
      if (picture) this.grounds.paint();
      else this.viewer.say(this.backend.noPicture(image));
    } catch (error) {
      if (this.current === image) this.viewer.say(error.message);
    }
  }

  move(step) {
    const image = this.list.beside(step);
    if (image) this.list.select(image);
  }

  // Accepts the image shown, or asks why it is to be retaken.
  judge(verdict) {
    if (!this.current || this.backend.noVerdict(this.current)) return;
    if (verdict === "accept") this.#give("accept", "");
    else if (this.grounds.asks) this.grounds.close();
    else this.grounds.ask();
  }

  // Gives a verdict on the image shown with the comment and the drawn objects, or withdraws it when the same stands.
  async #give(verdict, reason) {
    const image = this.current;
    const fault = this.grounds.fault();
    if (fault) {
      this.tell(fault, "error");
      return;
    }
    this.grounds.close();
    const standing = this.verdicts.given(image);
    const isAgain = standing?.verdict === verdict && standing.reason === reason;
    const next = !isAgain && byId("advance").checked ? this.list.beside(1) : null;
    const draft = this.grounds.draft();
    this.grounds.forget(image);
    const kept = this.#keep(() => this.#keepVerdict(image, isAgain ? null : verdict, reason, draft));
    this.refresh();
    if (next) this.list.select(next);
    else this.list.select(image);
    await kept;
  }

  // Gives the verdict that stands again, with another comment or other drawn objects; without one they wait for it. What was
  // changed elsewhere meanwhile is joined with it, and asked about where that cannot be.
  async #amend() {
    const image = this.current;
    const standing = this.verdicts.given(image);
    this.refreshVerdict();
    if (!standing || this.grounds.fault()) return;
    const draft = this.grounds.draft();
    this.grounds.forget(image);
    if (isSame(groundsOf({ ...standing, ...draft }), groundsOf(standing))) return;
    const kept = this.#keep(() => this.#keepVerdict(image, standing.verdict, standing.reason, draft));
    this.refreshVerdict(); // what is drawn before the answer comes begins from this
    const failure = await kept;
    const now = this.verdicts.given(image);
    const isOther = now && isSame([now.verdict, now.reason], [standing.verdict, standing.reason]) && !isSame(groundsOf(now), groundsOf(standing));
    if (failure?.status === CONFLICT && isOther && this.current === image) await this.#amend();
  }

  // What was written and drawn is there again where the verdict could not be kept.
  async #keepVerdict(image, verdict, reason, draft) {
    const change = { image, verdict, time: now(), reader: this.backend.reader };
    const { base, ...said } = draft;
    try {
      await this.verdicts.give([verdict ? { ...change, reason, ...said } : change]);
    } catch (error) {
      if (verdict && !isSame(said, base)) this.grounds.keep(image, draft);
      throw error;
    }
  }

  async undo() {
    let images = [];
    await this.#keep(async () => (images = await this.verdicts.undo()));
    if (images.length === 1) this.list.select(images[0]);
  }

  // Why a change was not taken, undefined where it was; what was said of the one before is then settled.
  async #keep(change) {
    let failure;
    try {
      await change();
      if (this.untaken && byId("notice-text").textContent === this.untaken) this.hush();
    } catch (error) {
      failure = error;
      this.untaken = error.message;
      this.tell(error.message, "error");
      await this.#lookAgain(error);
    }
    this.refresh();
    return failure;
  }

  // Shows what another reader has said meanwhile, where that is why a verdict was not taken.
  async #lookAgain({ status }) {
    if (status !== CONFLICT) return;
    try {
      const news = await this.backend.afresh();
      if (news) this.renew(news.images, news.found);
    } catch {
      // the reader has been told already that the verdict was not taken
    }
  }

  // Takes a worklist and verdicts that have changed elsewhere; what is selected stays so.
  renew(images, found) {
    this.verdicts.renew(found);
    if (images !== this.backend.images) {
      this.backend.images = images;
      this.list.setImages(images);
    }
    this.refresh();
    if (!this.current && this.list.images.length) this.list.select(this.list.images[0]);
  }

  tell(text, kind = "note") {
    byId("notice").hidden = false;
    byId("notice").className = `notice ${kind}`;
    byId("notice-text").textContent = text;
  }

  // Says something that comes back whenever nothing else is to be said, until it is closed.
  remark(text) {
    this.standing = text;
    this.hush();
  }

  hush() {
    if (this.standing) this.tell(this.standing);
    else byId("notice").hidden = true;
  }

  // Everything that depends on verdicts.
  refresh() {
    this.list.update();
    this.filters.count();
    const all = this.#judgeable();
    const { accept, retake } = this.verdicts.counts(all);
    byId("tally").replaceChildren(
      make("strong", {}, `${(accept + retake).toLocaleString("en")} of ${all.length.toLocaleString("en")}`),
      ` judged: ${accept} accepted, ${retake} to retake`,
    );
    byId("undo").disabled = this.verdicts.done.length === 0;
    this.refreshVerdict();
  }

  refreshVerdict() {
    const image = this.current;
    const refused = image ? this.backend.noVerdict(image) : "";
    const verdict = image ? this.verdicts.of(image) : null;
    for (const name of Object.keys(VERDICTS)) {
      byId(name).setAttribute("aria-pressed", verdict === name);
      byId(name).disabled = !image || refused !== "";
    }
    byId("verdict-note").textContent = refused;
    const { readers } = this.verdicts;
    const others = image ? this.verdicts.othersOf(image) : [];
    this.grounds.show(image, image && this.verdicts.given(image), Boolean(image) && refused === "", drawingsOf(others, readers));
    byId("show-others").hidden = !readers.length;
    showOthers(others, this.backend.facts.reasons, Boolean(image) && this.verdicts.isConflict(image), readers);
  }

  // The images of the worklist that can have a verdict.
  #judgeable() {
    return this.backend.images.filter((image) => this.backend.noVerdict(image) === "");
  }

  async exportVerdicts() {
    try {
      offer("verdicts.csv", await this.backend.csv(this.verdicts), "text/csv");
    } catch (error) {
      this.tell(error.message, "error");
    }
  }

  async importVerdicts(file) {
    try {
      const { changes, left, doubts } = this.verdicts.fromCsv(await file.text(), this.#judgeable(), this.backend.facts.reasons, (reader) => this.backend.mayImport(reader));
      if (changes.length) await this.verdicts.give(changes);
      const rest = [
        left.same && `${counted(left.same, "line says", "lines say")} what already stands`,
        left.older && `${counted(left.older, "line is", "lines are")} older than the verdict here`,
        left.earlier && `${counted(left.earlier, "line is", "lines are")} followed by a later one on the same image`,
        left.unknown && `${counted(left.unknown, "line is", "lines are")} of images that are not in this worklist`,
        left.others && counted(left.others, ...this.backend.notImported),
        doubts.length && `${counted(doubts.length, "line is", "lines are")} in doubt and not taken: ${doubts.slice(0, 3).join(", ")}`,
      ].filter(Boolean);
      this.tell([`${counted(changes.length, "verdict")} imported`, ...rest].join("; ") + ".");
    } catch (error) {
      this.tell(`${file.name} was not imported: ${error.message.replace(/\.$/, "")}.`, "error");
      await this.#lookAgain(error);
    }
    this.refresh();
  }

  #toggle(option, id) {
    const on = !this.viewer.options[option];
    byId(id).setAttribute("aria-pressed", on);
    this.viewer.set(option, on);
  }

  #wire() {
    const click = (id, action) => byId(id).addEventListener("click", action);
    for (const verdict of Object.keys(VERDICTS)) click(verdict, () => this.judge(verdict));
    const toggles = { map: "show-map", contours: "show-contours", peak: "show-peak", others: "show-others", invert: "invert" };
    for (const [option, id] of Object.entries(toggles)) click(id, () => this.#toggle(option, id));
    const fade = ({ target }) => this.viewer.set("opacity", Number(target.value));
    byId("opacity").addEventListener("input", fade);
    byId("opacity").addEventListener("dblclick", (event) => {
      event.target.value = event.target.defaultValue;
      fade(event);
    });
    click("undo", () => this.undo());
    click("export", () => this.exportVerdicts());
    click("import", () => byId("imported").click());
    byId("imported").addEventListener("change", async ({ target }) => {
      if (target.files.length) await this.importVerdicts(target.files[0]);
      target.value = "";
    });
    click("help", () => byId("help-dialog").showModal());
    click("notice-close", () => {
      if (byId("notice-text").textContent === this.standing) this.standing = null;
      this.hush();
    });

    const keys = {
      j: () => this.move(1), ArrowDown: () => this.move(1), k: () => this.move(-1), ArrowUp: () => this.move(-1),
      ArrowRight: () => this.move(1), ArrowLeft: () => this.move(-1),
      PageDown: () => this.#page(1), PageUp: () => this.#page(-1),
      a: () => this.judge("accept"), r: () => this.judge("retake"), u: () => this.undo(),
      m: () => this.#toggle("map", "show-map"), c: () => this.#toggle("contours", "show-contours"),
      p: () => this.#toggle("peak", "show-peak"), g: () => this.#toggle("others", "show-others"), i: () => this.#toggle("invert", "invert"),
      ...this.viewing.keys,
      e: () => byId("comment").focus(), b: () => this.grounds.draw("box"), o: () => this.grounds.draw("outline"),
      Escape: () => this.grounds.stop(), "/": () => byId("search").focus(), "?": () => byId("help-dialog").showModal(),
    };
    document.addEventListener("keydown", (event) => {
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      if (isTyping(event.target, key)) {
        if (key === "Escape") byId("grid").focus();
        return;
      }
      if (this.grounds.asks && !["Tab", " ", "Shift"].includes(key) && !(key === "Enter" && event.target.matches("button")) && this.grounds.take(key)) {
        event.preventDefault();
        return;
      }
      if (!Object.hasOwn(keys, key)) return;
      event.preventDefault();
      keys[key]();
    });
  }

  #page(direction) {
    const rows = Math.max(Math.floor(byId("grid").clientHeight / ROW_HEIGHT) - 2, 1);
    for (let step = rows; step > 0; step -= 1) {
      const image = this.list.beside(direction * step);
      if (image) return this.list.select(image);
    }
  }
}

// Whether a key belongs to the field that has the focus: all of them in text, those that move in others.
function isTyping(target, key) {
  if (target.matches("input[type=search], input[type=text], input[type=password], input[type=number], textarea, select")) return true;
  return target.matches("input") && (key.length > 1 || key === " ");
}

// An <img> whose picture is there; null without an address.
async function loaded(address) {
  const source = await address;
  if (!source) return null;
  const picture = new Image();
  picture.src = source;
  try {
    await picture.decode();
  } catch {
    throw new Error("The picture cannot be shown: it could not be loaded, or is damaged.");
  }
  return picture;
}
