// Shows those explained images alone that the filters ask for, in the order that is asked for; without scripts all are
// shown.
(() => {
  "use strict";
  const filters = document.getElementById("filters");
  const grid = document.getElementById("images");
  const count = document.getElementById("count");
  const cards = Array.from(grid.children, (card, place) => ({
    card,
    place,
    text: card.textContent.toLowerCase(),
    decision: card.dataset.decision,
    probability: card.dataset.probability === "" ? null : Number(card.dataset.probability),
  }));
  const field = (name) => filters.querySelector(`[name="${name}"]`);

  function order(a, b) {
    const sign = { given: 0, highest: -1, lowest: 1 }[field("order").value];
    if (sign === 0) return a.place - b.place;
    if (a.probability === null || b.probability === null) {
      return (a.probability === null) - (b.probability === null) || a.place - b.place;
    }
    return sign * (a.probability - b.probability) || a.place - b.place;
  }

  function show() {
    const words = field("words").value.toLowerCase().split(/\s+/).filter(Boolean);
    const decision = field("decision").value;
    let shown = 0;
    for (const each of cards) {
      const wanted = (!decision || each.decision === decision) && words.every((word) => each.text.includes(word));
      each.card.hidden = !wanted;
      shown += wanted;
    }
    count.textContent = `${shown} of ${cards.length} images`;
  }

  filters.hidden = false;
  filters.addEventListener("input", show);
  field("order").addEventListener("change", () => grid.append(...[...cards].sort(order).map(({ card }) => card)));
  window.addEventListener("beforeprint", () => {
    for (const image of grid.querySelectorAll("img")) image.loading = "eager";
  });
  show();
})();
