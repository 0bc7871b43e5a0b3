"use strict";
// Verdicts on their way to the server. One that it cannot take at the moment waits in this browser, also while the page
// is closed, and is sent until it is answered; by its number the server knows it again, and keeps it once.

const FIRST_PAUSE = 1_000; // ms until a verdict is sent again, and twice as long each time
const LONGEST_PAUSE = 15_000;
const LONGEST_WAIT = 30_000; // ms for an answer: a connection may be lost without a word
const AWAY = [undefined, 408, 429, 502, 503, 504]; // no answer, or one that asks to come again
const UNKNOWN = 401; // of a server that was started again with another token

class Outbox {
  // `name` of what is kept in this browser; `tell(text, kind)` says what a reader must know. While `late`, something waits
  // that was not taken at first.
  constructor(name, tell) {
    Object.assign(this, { name, tell, memory: null, late: false, refused: false });
    addEventListener("beforeunload", (event) => this.memory?.length && event.preventDefault());
  }

  // What waits, oldest first: [{ id, key, verdict, seen, seen_grounds, reason, comment, marks }].
  get waiting() {
    if (this.memory) return this.memory;
    try {
      return JSON.parse(localStorage.getItem(this.name)) ?? [];
    } catch {
      return [];
    }
  }

  // Takes verdicts, each of which `deliver` then sends.
  add(verdicts) {
    const entries = verdicts.map((verdict) => ({ ...verdict, id: newNumber() }));
    this.#write([...this.waiting, ...entries]);
    return entries;
  }

  remove(entries) {
    const gone = new Set(entries.map(({ id }) => id));
    this.#write(this.waiting.filter(({ id }) => !gone.has(id)));
    this.late &&= this.waiting.length > 0;
  }

  // Sends an entry until it is answered; fails where the server refuses it.
  async deliver(entry) {
    let isLate = false;
    for (let pause = FIRST_PAUSE; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      try {
        await this.#send(entry);
        break;
      } catch (error) {
        const waits = AWAY.includes(error.status) || (isLate && error.status === UNKNOWN);
        if (!waits) {
          this.refused = true; // which is said, and not to be talked over
          throw error;
        }
        isLate = true;
        this.late = true;
        this.#say(error.message);
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }
    const wasLate = this.late;
    this.remove([entry]);
    if (wasLate && !this.late && !this.refused) this.tell("All verdicts that waited have arrived.");
  }

  #send(entry) {
    return ask("api/verdicts", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(entry),
      signal: AbortSignal.timeout(LONGEST_WAIT),
    });
  }

  #say(reason) {
    this.refused = false;
    const place = this.memory ? "in this page: do not close it. They are" : "in this browser, and are";
    this.tell(`${reason} ${counted(this.waiting.length, "verdict waits", "verdicts wait")} ${place} sent until the server takes them.`, "error");
  }

  // Without room in the browser, or where it keeps nothing, the page alone holds what waits.
  #write(entries) {
    try {
      if (entries.length) localStorage.setItem(this.name, JSON.stringify(entries));
      else localStorage.removeItem(this.name);
      this.memory = null;
    } catch {
      this.memory = entries;
    }
  }
}

// 32 hexadecimal digits; `crypto.randomUUID` is there under TLS alone.
function newNumber() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
