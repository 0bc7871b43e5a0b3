"use strict";
// Starts the served page.

(async () => {
  let backend;
  try {
    backend = await OnlineBackend.open();
  } catch (error) {
    byId("notice").hidden = false;
    byId("notice").className = "notice error";
    byId("notice-text").textContent = error.message;
    return;
  }
  const { model, worklist } = backend;
  byId("heading").textContent = [worklist && `folder ${worklist.folder}`, `model ${model.name}`, `input ${model.size}`].filter(Boolean).join(" · ");
  document.body.classList.toggle("without-folder", !worklist);
  window.review = new Review(backend);
  window.checking = new Checking(window.review);
  if (worklist?.remark) window.review.remark(sentence(worklist.remark));
})();
