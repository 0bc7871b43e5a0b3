"use strict";
// What the list shows: a search, one of the decisions and one of the verdicts, each with the number of its images.

class Filters {
  // Of a `Worklist`; `thresholds` are those of which its images have been decided with.
  constructor(list, thresholds, isConflict) {
    Object.assign(this, { list, isConflict });
    const states = [...new Set(thresholds.flatMap(statesWith)), "not_assessable", "remarked", "unreadable"];
    this.always = new Set(["all", ...statesWith(thresholds[0]), "not_assessable", "unreadable"]);
    this.#makeChips("decisions", "state", [["all", "all"], ...states.map((state) => [state, STATES[state]?.label ?? state])]);
    this.#makeChips("verdict-filter", "verdict", [["all", "any verdict"], ["none", "none yet"], ["accept", "accepted"], ["retake", "retake"], ["conflict", "conflicts"]]);
    byId("search").addEventListener("input", (event) => this.#set("text", event.target.value.trim()));
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
  }

  // Takes all of them away.
  showAll() {
    byId("search").value = "";
    for (const [part, value] of [["text", ""], ["state", "all"], ["verdict", "all"]]) this.list.filter[part] = value;
    for (const all of document.querySelectorAll('#filters input[value="all"]')) all.checked = true;
  }

  // Says how many images each would show; those of which there are none, but for the usual ones, are hidden.
  count() {
    for (const [fieldset, part] of [["decisions", "state"], ["verdict-filter", "verdict"]]) {
      const counts = this.list.counts(part);
      for (const count of byId(fieldset).querySelectorAll("[data-count]")) {
        count.textContent = (counts[count.dataset.count] ?? 0).toLocaleString("en");
      }
    }
    for (const radio of document.querySelectorAll("#decisions input")) {
      const occurs = ({ state, image }) => state === radio.value || (radio.value === "remarked" && isRemarked(image));
      radio.parentElement.hidden = !this.always.has(radio.value) && !this.list.entries.some(occurs);
    }
    const conflicts = byId("verdict-conflict");
    conflicts.parentElement.hidden = !conflicts.checked && !this.list.entries.some(({ image }) => this.isConflict(image));
  }

  #makeChips(fieldset, part, choices) {
    for (const [value, label] of choices) {
      const radio = make("input", { type: "radio", name: part, value, id: `${part}-${value}`, ...(value === "all" && { checked: "" }) });
      radio.addEventListener("change", () => this.#set(part, value));
      byId(fieldset).append(make("label", { class: `chip ${value}` }, radio, make("span", {}, label), make("b", { "data-count": value })));
    }
  }

  #set(part, value) {
    this.list.setFilter(part, value);
    this.count();
  }
}
