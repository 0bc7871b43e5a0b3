"use strict";
// How far readers agree, as the server counts it; and the files that it makes of their verdicts.

class Agreement {
  constructor(review) {
    byId("agreement").hidden = !review.backend.reader;
    byId("agreement").addEventListener("click", () => this.#show(review));
    byId("export-objects").addEventListener("click", async () => {
      try {
        offer("objects.csv", await (await ask("api/objects.csv")).text(), "text/csv");
      } catch (error) {
        review.tell(error.message, "error");
      }
    });
  }

  async #show(review) {
    try {
      const { pairs } = await answerOf("api/agreement");
      byId("agreement-rows").replaceChildren(...pairs.map((pair) => this.#row(pair)));
      byId("agreement-table").hidden = !pairs.length;
      byId("agreement-none").hidden = pairs.length > 0;
      byId("agreement-dialog").showModal();
    } catch (error) {
      review.tell(error.message, "error");
    }
  }

  #row({ readers, images, both_accept: accept, both_retake: retake, first_retakes: first, second_retakes: second, kappa, low, high }) {
    const number = (value) => value.toFixed(2);
    const value = kappa === null ? "–" : number(kappa);
    const interval = low === null ? "–" : `${number(low)} to ${number(high)}`;
    const cells = [readers.join(", "), images, accept, retake, first, second, value, interval];
    return make("tr", {}, ...cells.map((cell, place) => make(place ? "td" : "th", place ? {} : { scope: "row" }, String(cell))));
  }
}
